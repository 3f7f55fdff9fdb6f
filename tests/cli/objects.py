"""Builders of the objects that the checks examine."""

from osm_probes.cli.objects import Condition, Deployment, DeploymentSpec, Metadata, Pod, PodSpec, PodStatus

NAMESPACE = "osm-system"
APP = "osm-controller"


def controller_pod(
    name: str, *, ready: str = "True", phase: str = "Running", mesh: str = "", deleted_at: str | None = None
) -> Pod:
    """A pod of osm-controller. ready: the status of this condition. mesh: empty for a pod without a mesh label."""
    labels = {"app": APP, **({"meshName": mesh} if mesh else {})}
    metadata = Metadata(name, NAMESPACE, labels=labels, deletion_timestamp=deleted_at)
    return Pod(metadata, PodSpec(), PodStatus(phase, conditions=[Condition("Ready", ready)]))


def controller_deployment(mesh: str = "osm", *, replicas: int = 2) -> Deployment:
    """The Deployment of a mesh's osm-controller."""
    return Deployment(Metadata(APP, NAMESPACE, labels={"app": APP, "meshName": mesh}), DeploymentSpec(replicas))
