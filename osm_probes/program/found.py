"""Flags -> the world that they name: a folder on one machine, or a cluster."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Final

from osm_probes.configuration.shared import Shared
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import beside
from osm_probes.pki.folder import load_or_create_authority
from osm_probes.pki.trust import Trust
from osm_probes.probes.program_metrics import ProgramMetrics
from osm_probes.program.world import NoMeshFolderError, Reads, UnknownCertificateManagerError, World, authority_name
from osm_probes.sources.file import FolderSource

_BUILT_IN: Final = "tresor"


@contextlib.asynccontextmanager
async def found_world(
    shared: Shared, *, agent: str, reads: Reads, metrics: ProgramMetrics, waiting: Callable[[str], None]
) -> AsyncGenerator[World, None]:
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
        from osm_probes.program.in_cluster import found_cluster

        async with found_cluster(shared, agent=agent, reads=reads, metrics=metrics, waiting=waiting) as world:
            yield world
        return
    if not shared.mesh_dir.is_dir():
        raise NoMeshFolderError(f"--mesh-dir {shared.mesh_dir} is no folder: name one with Kubernetes manifests")
    name = authority_name(shared)
    authority = await asyncio.to_thread(load_or_create_authority, shared.ca_dir, common_name=name)
    source = FolderSource(shared.mesh_dir, mesh_name=shared.mesh_name)
    async with beside(source=source.run()):
        yield World(Latest(Trust.of(authority)), source)
