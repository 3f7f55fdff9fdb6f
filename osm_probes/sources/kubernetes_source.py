"""The objects of a cluster -> mesh, kept up to date by watches."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from osm_probes.foundation.latest import Changes, Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.foundation.settle import settle
from osm_probes.foundation.tasks import background_tasks
from osm_probes.foundation.text import first_of
from osm_probes.health.backlog import Backlog
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.informer import Informer, Observer, ignore_event
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
from osm_probes.mesh.labels import MONITORED_BY, PROXY_UUID, PROXY_UUID_PATTERN, SERVICE_NAME
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.source import Step
from osm_probes.sources.exclusion_log import ExclusionLog
from osm_probes.sources.manifests import object_decoder
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
from osm_probes.sources.translate import mesh_from_objects

INJECTOR_KINDS: Final[Mapping[Kind, type[MeshObject]]] = {NAMESPACES: Namespace, MESH_CONFIGS: MeshConfig}
"""The kinds that an injector watches: the namespaces of the mesh, and its settings."""

CONTROLLER_KINDS: Final[Mapping[Kind, type[MeshObject]]] = {
    **INJECTOR_KINDS,
    SERVICES: ServiceObject,
    SERVICE_ACCOUNTS: ServiceAccount,
    ENDPOINT_SLICES: EndpointSlice,
    PODS: Pod,
    TRAFFIC_TARGETS: TrafficTarget,
    HTTP_ROUTE_GROUPS: HTTPRouteGroup,
    TCP_ROUTES: TCPRoute,
    TRAFFIC_SPLITS: TrafficSplit,
}
"""The kinds that a controller watches."""

_SETTLE_QUIET: Final = 0.01
_SETTLE_AT_MOST: Final = 0.1


class KubernetesSource:
    """The mesh in the objects of a cluster. kinds: the watched kinds, by default those of a controller.

    `mesh` is None until the first list of every kind is complete; afterwards it stays while the API server is
    unreachable. `problem` says which kind cannot be watched, or which object is invalid; false if neither. `versions`
    has the served apiVersion of each kind that has several, by the kind's name.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        mesh_name: str,
        osm_namespace: str,
        config_name: str,
        kinds: Mapping[Kind, type[MeshObject]] | None = None,
        observe: Observer = ignore_event,
    ) -> None:
        self.mesh: Latest[Mesh | None] = Latest(None)
        self.problem: Latest[Problem] = Latest(Problem())
        self.updates = Backlog()
        self.versions: Latest[Mapping[str, str]] = Latest({})
        self._mesh_name = mesh_name
        self._changes = Changes()
        self._seen = 0
        self._exclusions = ExclusionLog()
        self._problem_log = ProblemLog(
            "sources",
            began="the mesh is not up to date with the cluster",
            ended="the mesh is up to date with the cluster again",
        )
        self._built_from: list[int] = []
        self._build_problem = Problem()
        selections = {
            NAMESPACES: ListOptions(NAMESPACES, labels=f"{MONITORED_BY}={mesh_name}"),
            ENDPOINT_SLICES: ListOptions(ENDPOINT_SLICES, labels=SERVICE_NAME),
            PODS: ListOptions(PODS, labels=PROXY_UUID),
            MESH_CONFIGS: ListOptions(MESH_CONFIGS, namespace=osm_namespace, fields=f"metadata.name={config_name}"),
        }
        self._informers: list[Informer[Any]] = [
            Informer(
                client,
                selections.get(kind, ListOptions(kind)),
                decode=object_decoder(object_type),
                notify=self._notify,
                observe=observe,
            )
            for kind, object_type in (kinds or CONTROLLER_KINDS).items()
        ]

    def pods(self) -> Mapping[tuple[str, str], Sequence[Pod]] | None:
        """All pods whose label is the well-formed uuid of a proxy, finished ones included, by namespace and that uuid.

        Users can copy the label, so several pods may have it. None if the pods are not known now. Call it on the event
        loop.
        """
        informer = next(informer for informer in self._informers if informer.options.kind is PODS)
        if not informer.synced or informer.problem:
            return None
        found: dict[tuple[str, str], list[Pod]] = defaultdict(list)
        for pod in informer.objects.values():
            proxy = pod.metadata.labels.get(PROXY_UUID, "") if isinstance(pod, Pod) else ""
            if PROXY_UUID_PATTERN.match(proxy):
                found[pod.metadata.namespace, proxy].append(pod)
        return dict(found)

    def ages(self) -> Mapping[str, float]:
        """Seconds since the API server last sent something, by the plural of the kind. Thread-safe."""
        return {informer.options.kind.plural: informer.age for informer in self._informers}

    async def run(self) -> None:
        """Watch the cluster until cancelled."""
        watches = {informer.options.kind.plural: informer.run() for informer in self._informers}
        async with background_tasks(**watches):
            while True:
                seen = await settle(self._changes, self._seen, quiet=_SETTLE_QUIET, at_most=_SETTLE_AT_MOST)
                await self._update()
                self._seen = seen

    def _notify(self) -> None:
        kinds = (informer.kind for informer in self._informers if informer.kind.or_version)
        self.versions.set({kind.name: kind.api_version for kind in kinds})
        self.updates.add(Step.SEEN)
        self._changes.notify()

    async def _update(self) -> None:
        self.updates.move(Step.SEEN, [Step.READING])
        read_problem = self._read_problem()
        self._problem_log.update(str(read_problem))
        not_synced = [informer.options.kind.plural for informer in self._informers if not informer.synced]
        revisions = [informer.revision for informer in self._informers]
        # Not when the API server only became unreachable or reachable: the objects are the same.
        if not not_synced and revisions != self._built_from:
            self._built_from = revisions
            await self._build_mesh()
        not_listed = Problem(f"not listed yet: {', '.join(not_synced)}" if not_synced else "")
        self.problem.set(read_problem or self._build_problem or not_listed)
        self.updates.remove(Step.READING)

    async def _build_mesh(self) -> None:
        objects = [found for informer in self._informers for found in informer.objects.values()]
        try:
            # In a thread: it takes long for thousands of pods, and would block the streams of proxies.
            mesh = await asyncio.to_thread(mesh_from_objects, objects, mesh_name=self._mesh_name)
        except Exception as error:  # the boundary to objects of others: an unforeseen one must not end the program
            text = f"the mesh cannot be built: {type(error).__name__}: {error}"
            self._build_problem = Problem("the mesh cannot be built", text)
            logger("sources").error("the mesh cannot be built: the last good one stays in use", error=text)
        else:
            self._build_problem = Problem()
            self._exclusions.update(mesh)
            if self.mesh.set(mesh):
                self.updates.move(Step.READING, [Step.READ])

    def _read_problem(self) -> Problem:
        """The first problem of the watches and objects, and the number of the others."""
        watches = [informer.problem for informer in self._informers if informer.problem]
        errors = [error for informer in self._informers for error in informer.errors.values()]
        if not watches and not errors:
            return Problem()
        details = [*map(str, watches), *errors]
        summaries = [
            *(problem.summary for problem in watches),
            *([f"invalid objects: {len(errors)}"] if errors else []),
        ]
        return Problem(first_of(summaries), first_of(details))
