"""A cluster's objects -> Mesh, watched: the outside world of a control plane in Kubernetes."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.settle import settle
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.informer import Informer, Observer, unobserved
from osm_probes.kube.kind import (
    ENDPOINT_SLICES,
    HTTP_ROUTE_GROUPS,
    MESH_CONFIGS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    TCP_ROUTES,
    TRAFFIC_SPLITS,
    TRAFFIC_TARGETS,
    Kind,
)
from osm_probes.kube.list_options import ListOptions
from osm_probes.mesh.labels import MONITORED_BY, PROXY_UUID
from osm_probes.mesh.mesh import Mesh
from osm_probes.sources.manifests import decoder_of
from osm_probes.sources.objects import (
    EndpointSlice,
    MeshConfig,
    MeshObject,
    Namespace,
    Pod,
    ServiceAccount,
    ServiceObject,
)
from osm_probes.sources.smi import HTTPRouteGroup, TCPRoute, TrafficSplit, TrafficTarget
from osm_probes.sources.translate import SERVICE_NAME, mesh_from_objects
from osm_probes.sources.warnings import MeshWarnings

_QUIET: Final = 0.01
_SETTLED_AT_LAST: Final = 0.1


NAMESPACES_ALONE: Final[Mapping[Kind, type[MeshObject]]] = {NAMESPACES: Namespace, MESH_CONFIGS: MeshConfig}
"""What an injector reads: which namespaces belong to the mesh, and its settings."""

WHOLE_MESH: Final[Mapping[Kind, type[MeshObject]]] = {
    **NAMESPACES_ALONE,
    SERVICES: ServiceObject,
    SERVICE_ACCOUNTS: ServiceAccount,
    ENDPOINT_SLICES: EndpointSlice,
    PODS: Pod,
    TRAFFIC_TARGETS: TrafficTarget,
    HTTP_ROUTE_GROUPS: HTTPRouteGroup,
    TCP_ROUTES: TCPRoute,
    TRAFFIC_SPLITS: TrafficSplit,
}
"""What a controller reads."""


class KubernetesSource:
    """The mesh that a cluster's objects say; `kinds` are those that are read, the whole mesh unless told otherwise.

    `mesh` is None until the first list of every kind is complete, and stays what it was whatever becomes of the API
    server. `problem` says what cannot be watched now, or which object cannot be used; "" if all is well. `versions` has
    the apiVersion in which kinds that have several are read, by the kind's name.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        mesh_name: str,
        osm_namespace: str,
        config_name: str,
        kinds: Mapping[Kind, type[MeshObject]] | None = None,
        observe: Observer = unobserved,
    ) -> None:
        self.mesh: Latest[Mesh | None] = Latest(None)
        self.problem: Latest[str] = Latest("")
        self.versions: Latest[Mapping[str, str]] = Latest({})
        self._mesh_name = mesh_name
        self._changes: Latest[int] = Latest(0)
        self._news = MeshWarnings()
        self._translated: list[int] = []
        self._flaw = ""
        self._fell_at: float | None = None
        wanted = {
            NAMESPACES: ListOptions(NAMESPACES, labels=f"{MONITORED_BY}={mesh_name}"),
            ENDPOINT_SLICES: ListOptions(ENDPOINT_SLICES, labels=SERVICE_NAME),
            PODS: ListOptions(PODS, labels=PROXY_UUID),
            MESH_CONFIGS: ListOptions(MESH_CONFIGS, namespace=osm_namespace, fields=f"metadata.name={config_name}"),
        }
        self._informers: list[Informer[Any]] = [
            Informer(
                client,
                wanted.get(kind, ListOptions(kind)),
                decode=decoder_of(typed),
                notify=self._note,
                observe=observe,
            )
            for kind, typed in (kinds or WHOLE_MESH).items()
        ]

    def pods(self) -> Mapping[tuple[str, str], Pod] | None:
        """The pods that have a proxy, whatever became of them, by namespace and the proxy's uuid.

        None where it is not known which there are now. On the event loop.
        """
        informer = next(each for each in self._informers if each.wanted.kind is PODS)
        if not informer.synced or informer.trouble:
            return None
        pods = (pod for pod in informer.objects.values() if isinstance(pod, Pod))
        return {(pod.metadata.namespace, pod.metadata.labels[PROXY_UUID]): pod for pod in pods}

    def ages(self) -> Mapping[str, float]:
        """Seconds since the API server last said something, by the plural of the kind. From any thread."""
        return {each.wanted.kind.plural: each.age for each in self._informers}

    async def run(self) -> None:
        """Watch the cluster without an end."""
        watches = {each.wanted.kind.plural: each.run() for each in self._informers}
        async with background_tasks(**watches):
            seen = self._changes.version
            while True:
                seen = await settle(self._changes, seen, quiet=_QUIET, at_most=_SETTLED_AT_LAST)
                await self._translate()

    def _note(self) -> None:
        several = (each.kind for each in self._informers if each.kind.or_version)
        self.versions.set({kind.name: kind.api_version for kind in several})
        self._changes.set(self._changes.value + 1)

    async def _translate(self) -> None:
        trouble = self._trouble()
        self._tell(trouble)
        waiting = [each.wanted.kind.plural for each in self._informers if not each.synced]
        revisions = [each.revision for each in self._informers]
        # That the API server comes and goes changes nothing in the mesh.
        if not waiting and revisions != self._translated:
            self._translated = revisions
            objects = [each for informer in self._informers for each in informer.objects.values()]
            try:
                # In a thread: it takes a while for thousands of pods, and streams must not wait.
                mesh = await asyncio.to_thread(mesh_from_objects, objects, mesh_name=self._mesh_name)
            except Exception as error:  # the boundary of what others wrote: it must not end the program
                self._flaw = f"the objects make no mesh: {type(error).__name__}: {error}"
                logger("sources").error("the objects make no mesh: the last good one stays", error=self._flaw)
            else:
                self._flaw = ""
                self._news.tell(mesh)
                self.mesh.set(mesh)
        unlisted = f"not listed yet: {', '.join(waiting)}" if waiting else ""
        self.problem.set(trouble or self._flaw or unlisted)

    def _tell(self, trouble: str) -> None:
        """Log that something became wrong, and that all is well again; in between it is told by `problem`."""
        if trouble and self._fell_at is None:
            self._fell_at = time.monotonic()
            logger("sources").warning("the cluster cannot be followed now", error=trouble)
        elif self._fell_at is not None and not trouble:
            after = round(time.monotonic() - self._fell_at, 1)
            logger("sources").info("the cluster is followed again", after=after)
            self._fell_at = None

    def _trouble(self) -> str:
        """The first of what is wrong, and how many more there are."""
        wrong = [each.trouble for each in self._informers if each.trouble]
        wrong += [error for each in self._informers for error in each.errors.values()]
        return f"{wrong[0]}{f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''}" if wrong else ""
