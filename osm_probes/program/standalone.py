"""What both programs need of one machine: the mesh's folder and the CA's."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from osm_probes.configuration.shared import Shared
from osm_probes.foundation.errors import OsmError
from osm_probes.pki.authority import Authority
from osm_probes.pki.folder import load_or_create_authority
from osm_probes.sources.file import FolderSource


class UnusableSourceError(OsmError):
    """The flags name no mesh that this program can read, or a certificate manager that it does not have."""


@dataclass(frozen=True, slots=True)
class World:
    """What a program knows of outside: the mesh, still to be watched, and the authority of its certificates."""

    source: FolderSource
    authority: Authority


async def standalone_world(shared: Shared) -> World:
    """The folders that the flags name; the authority is made on the first start.

    Raises UnusableSourceError, AuthorityFolderError.
    """
    source = FolderSource(_mesh_folder(shared), mesh_name=shared.mesh_name)
    name = f"{shared.mesh_name}-ca"
    return World(source, await asyncio.to_thread(load_or_create_authority, shared.ca_dir, common_name=name))


def _mesh_folder(shared: Shared) -> Path:
    if shared.certificate_manager != "tresor":
        raise UnusableSourceError(f"--certificate-manager {shared.certificate_manager} is not supported: use tresor")
    if shared.mesh_dir is None:
        raise UnusableSourceError("reading the mesh from Kubernetes is not built yet: give --mesh-dir DIR")
    if not shared.mesh_dir.is_dir():
        raise UnusableSourceError(f"--mesh-dir {shared.mesh_dir} is no folder: name one with Kubernetes manifests")
    return shared.mesh_dir
