"""Deployments and pods of a cluster -> its control planes, one for each mesh."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.cli.objects import Deployment, Pod
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.kind import DEPLOYMENTS, PODS
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.mesh.labels import APP, APP_VERSION, MESH_NAME
from osm_probes.mesh.names import CONTROLLER, INJECTOR

_SELECTOR: Final = f"{APP} in ({CONTROLLER},{INJECTOR})"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The Deployments and pods of one mesh's osm-controller and osm-injector."""

    mesh: str
    namespace: str
    deployments: tuple[Deployment, ...]
    pods: tuple[Pod, ...]

    def pods_of(self, app: str) -> tuple[Pod, ...]:
        """The pods of one app, without inactive ones."""
        return tuple(pod for pod in self.pods if pod.metadata.labels.get(APP) == app and not pod.inactive_reason)

    def deployment_of(self, app: str) -> Deployment | None:
        """The Deployment of one app."""
        matching = (deployment for deployment in self.deployments if deployment.metadata.labels.get(APP) == app)
        return next(matching, None)

    def version_of(self, app: str) -> str:
        """The version in the labels of the app's Deployment; empty if there is none."""
        deployment = self.deployment_of(app)
        return deployment.metadata.labels.get(APP_VERSION, "") if deployment else ""


async def list_control_planes(client: KubernetesClient, *, namespace: str = "") -> list[ControlPlane]:
    """The control planes in a namespace, or in all (""), sorted by namespace and mesh. Raises KubernetesError."""
    deployments, pods = await asyncio.gather(
        list_objects(client, ListOptions(DEPLOYMENTS, namespace=namespace, labels=_SELECTOR), type=Deployment),
        list_objects(client, ListOptions(PODS, namespace=namespace, labels=_SELECTOR), type=Pod),
    )
    return control_planes_from_objects(deployments, pods)


def control_planes_from_objects(deployments: Sequence[Deployment], pods: Sequence[Pod]) -> list[ControlPlane]:
    """Group Deployments and pods by namespace and mesh. A pod without a mesh label belongs to every mesh there."""
    keys = {(deployment.metadata.namespace, _mesh(deployment)) for deployment in deployments}
    return [
        ControlPlane(
            mesh,
            namespace,
            tuple(
                deployment
                for deployment in deployments
                if (deployment.metadata.namespace, _mesh(deployment)) == (namespace, mesh)
            ),
            tuple(pod for pod in pods if pod.metadata.namespace == namespace and _mesh(pod) in {"", mesh}),
        )
        for namespace, mesh in sorted(keys)
    ]


def _mesh(labelled: Deployment | Pod) -> str:
    return labelled.metadata.labels.get(MESH_NAME, "")
