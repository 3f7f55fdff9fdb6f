"""A cluster's Deployments and pods -> its control planes, one for each mesh."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.cli.objects import Deployment, Pod
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.kind import DEPLOYMENTS, PODS
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import listed

CONTROLLER: Final = "osm-controller"
INJECTOR: Final = "osm-injector"
_VERSION: Final = "app.kubernetes.io/version"
_BOTH: Final = f"app in ({CONTROLLER},{INJECTOR})"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The programs of one mesh, as they are installed in its namespace."""

    mesh: str
    namespace: str
    deployments: tuple[Deployment, ...]
    pods: tuple[Pod, ...]

    def pods_of(self, app: str) -> tuple[Pod, ...]:
        """The pods of one of its programs, but those that are leaving."""
        return tuple(pod for pod in self.pods if pod.metadata.labels.get("app") == app and not pod.leaving)

    def deployment_of(self, app: str) -> Deployment | None:
        """The Deployment of one of its programs."""
        found = (each for each in self.deployments if each.metadata.labels.get("app") == app)
        return next(found, None)

    def version_of(self, app: str) -> str:
        """The version that was installed; "" if its Deployment does not say."""
        deployment = self.deployment_of(app)
        return deployment.metadata.labels.get(_VERSION, "") if deployment else ""


async def control_planes(client: KubernetesClient, *, namespace: str = "") -> list[ControlPlane]:
    """Those of a namespace, or all, by namespace, then mesh. Raises KubernetesError."""
    deployments, pods = await asyncio.gather(
        listed(client, ListOptions(DEPLOYMENTS, namespace=namespace, labels=_BOTH), type=Deployment),
        listed(client, ListOptions(PODS, namespace=namespace, labels=_BOTH), type=Pod),
    )
    return planes_of(deployments, pods)


def planes_of(deployments: Sequence[Deployment], pods: Sequence[Pod]) -> list[ControlPlane]:
    """Deployments by mesh and namespace, each with its pods. A pod that names no mesh is of any in its namespace."""
    places = {(each.metadata.namespace, _mesh(each)) for each in deployments}
    return [
        ControlPlane(
            mesh,
            namespace,
            tuple(each for each in deployments if (each.metadata.namespace, _mesh(each)) == (namespace, mesh)),
            tuple(pod for pod in pods if pod.metadata.namespace == namespace and _mesh(pod) in {"", mesh}),
        )
        for namespace, mesh in sorted(places)
    ]


def _mesh(labelled: Deployment | Pod) -> str:
    return labelled.metadata.labels.get("meshName", "")
