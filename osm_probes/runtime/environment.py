"""Flags -> what a program works with: a mesh, a certificate authority, and a cluster if there is one."""

import asyncio
import contextlib
import enum
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from osm_probes.configuration.shared import SharedConfiguration
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.tasks import lasting_tasks
from osm_probes.mesh.source import MeshSource
from osm_probes.pki.ca_folder import load_or_create_authority
from osm_probes.pki.trust import Trust
from osm_probes.runtime.metrics import ProgramMetrics
from osm_probes.sources.folder_source import FolderSource

if TYPE_CHECKING:  # a client of the Kubernetes API costs 12 MB and a quarter of the start-up time
    from osm_probes.cluster.connection import Cluster


_BUILT_IN: Final = "tresor"


class UnknownCertificateManagerError(OsmError):
    """The flags name a certificate manager that is not supported."""


class NoMeshFolderError(OsmError):
    """--mesh-dir does not name a folder."""


class Reads(enum.Enum):
    """What a program reads of a cluster: the whole mesh, or only its namespaces and settings."""

    WHOLE_MESH = enum.auto()
    NAMESPACES = enum.auto()


@dataclass(frozen=True, slots=True)
class Environment:
    """A watched mesh, the CA that signs and the roots that are trusted, and the cluster; None without Kubernetes.

    ca_problem: what is wrong with the stored CA while the program goes on with the one that it has; false if nothing
    is.
    """

    trust: Latest[Trust]
    source: MeshSource
    cluster: "Cluster | None" = None
    ca_problem: Latest[Problem] = field(default_factory=lambda: Latest(Problem()))


@contextlib.asynccontextmanager
async def load_environment(
    shared: SharedConfiguration,
    *,
    agent: str,
    reads: Reads,
    metrics: ProgramMetrics,
    waiting: Callable[[Problem], None],
) -> AsyncGenerator[Environment, None]:
    """The environment that the flags name. The CA is created on the first start.

    agent: the user agent of requests to the API server. In a cluster this waits for the CA's Secret, and tells
    `waiting` why. Raises UnknownCertificateManagerError, NoMeshFolderError, the errors of the CA's folder or Secret,
    and UnusableKubeconfigError.
    """
    if shared.certificate_manager != _BUILT_IN:
        raise UnknownCertificateManagerError(
            f"--certificate-manager {shared.certificate_manager} is not supported: use {_BUILT_IN}"
        )
    if shared.mesh_dir is None:
        # Imported late: see above.
        from osm_probes.cluster.connection import connect_cluster
        from osm_probes.sources.kubernetes_source import CONTROLLER_KINDS, INJECTOR_KINDS

        kinds = CONTROLLER_KINDS if reads is Reads.WHOLE_MESH else INJECTOR_KINDS
        async with connect_cluster(
            shared, component=agent, kinds=kinds, observe=metrics.watched, on_waiting=waiting
        ) as cluster:
            metrics.watch_ages = cluster.source.ages
            yield Environment(cluster.trust, cluster.source, cluster, cluster.ca_secret.problem)
        return
    if not shared.mesh_dir.is_dir():
        raise NoMeshFolderError(f"--mesh-dir {shared.mesh_dir} is not a folder: name one with Kubernetes manifests")
    authority = await asyncio.to_thread(load_or_create_authority, shared.ca_dir, common_name=shared.ca_common_name)
    source = FolderSource(shared.mesh_dir, mesh_name=shared.mesh_name)
    async with lasting_tasks(source=source.run):
        yield Environment(Latest(Trust.of(authority)), source)
