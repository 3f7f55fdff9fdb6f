"""What a program knows of outside: the mesh, who signs its certificates, and the cluster, if there is one."""

import asyncio
import contextlib
import enum
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from osm_probes.configuration.shared import Shared
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.source import MeshSource
from osm_probes.pki.ca_folder import load_or_create_authority
from osm_probes.pki.trust import Trust
from osm_probes.runtime.metrics import ProgramMetrics
from osm_probes.sources.folder_source import FolderSource

if TYPE_CHECKING:  # a client of the Kubernetes API costs 12 MB and a quarter of the start: only where there is one
    from osm_probes.cluster.connection import Cluster


_BUILT_IN: Final = "tresor"


class UnknownCertificateManagerError(OsmError):
    """A certificate manager is asked for that this program does not have."""


class NoMeshFolderError(OsmError):
    """--mesh-dir names no folder."""


class Reads(enum.Enum):
    """What of a cluster's objects a program needs: the whole mesh, or its namespaces and settings alone."""

    WHOLE_MESH = enum.auto()
    NAMESPACES = enum.auto()


@dataclass(frozen=True, slots=True)
class Environment:
    """The mesh, being watched, who signs its certificates and whom its peers trust, the cluster where there is one.

    authority_problem: what is wrong with where the authority is kept; it does not keep the program from its work.
    """

    trust: Latest[Trust]
    source: MeshSource
    cluster: "Cluster | None" = None
    authority_problem: Latest[str] = field(default_factory=lambda: Latest(""))


@contextlib.asynccontextmanager
async def load_environment(
    shared: Shared, *, agent: str, reads: Reads, metrics: ProgramMetrics, waiting: Callable[[str], None]
) -> AsyncGenerator[Environment, None]:
    """The world that the flags name; the authority is made on the first start.

    agent: who asks the API server. In a cluster this waits, and tells `waiting` why, until the API server has said what
    the authority is. Raises UnknownCertificateManagerError, NoMeshFolderError, AuthorityFolderError,
    AuthoritySecretError and UnusableKubeconfigError.
    """
    if shared.certificate_manager != _BUILT_IN:
        raise UnknownCertificateManagerError(
            f"--certificate-manager {shared.certificate_manager} is not supported: use {_BUILT_IN}"
        )
    if shared.mesh_dir is None:
        # A client of the Kubernetes API costs 12 MB and a quarter of the start.
        from osm_probes.cluster.connection import connect_cluster
        from osm_probes.sources.kubernetes import NAMESPACES_ALONE, WHOLE_MESH

        kinds = WHOLE_MESH if reads is Reads.WHOLE_MESH else NAMESPACES_ALONE
        async with connect_cluster(
            shared, agent=agent, kinds=kinds, observe=metrics.watched, waiting=waiting
        ) as cluster:
            metrics.watch_ages = cluster.source.ages
            yield Environment(cluster.trust, cluster.source, cluster, cluster.ca_secret.problem)
        return
    if not shared.mesh_dir.is_dir():
        raise NoMeshFolderError(f"--mesh-dir {shared.mesh_dir} is no folder: name one with Kubernetes manifests")
    authority = await asyncio.to_thread(load_or_create_authority, shared.ca_dir, common_name=shared.ca_common_name)
    source = FolderSource(shared.mesh_dir, mesh_name=shared.mesh_name)
    async with background_tasks(source=source.run()):
        yield Environment(Latest(Trust.of(authority)), source)
