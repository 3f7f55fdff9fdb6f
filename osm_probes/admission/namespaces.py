"""A namespace's name -> the labels and annotations that decide about injection."""

from typing import Protocol

from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.mesh import NamespaceMetadata
from osm_probes.mesh.source import MeshSource


class NamespaceLookup(Protocol):
    """Looks up namespaces. None = there is no such namespace. Raises OsmError if it cannot be known."""

    async def get_cached(self, name: str) -> NamespaceMetadata | None:
        """The namespace as last seen, at once; it may be slightly outdated."""

    async def get_current(self, name: str) -> NamespaceMetadata | None:
        """The namespace as it is now; this may take a request."""


class NamespaceLookupError(OsmError):
    """It is unknown whether a namespace belongs to the mesh, because the mesh or the namespace cannot be read."""


class MeshNamespaces:
    """Looks up the namespaces of the mesh as the source has it; all others are unknown."""

    def __init__(self, source: MeshSource) -> None:
        self._source = source

    async def get_cached(self, name: str) -> NamespaceMetadata | None:
        """The namespace; None if it does not belong to the mesh. Raises NamespaceLookupError."""
        mesh = self._source.mesh.value
        if mesh is None:
            # Not the whole text, which may name any object of the mesh, for whoever creates a pod.
            raise NamespaceLookupError(self._source.problem.value.summary or "the mesh has not been read yet")
        return mesh.namespaces.get(name)

    async def get_current(self, name: str) -> NamespaceMetadata | None:
        """The same as `get_cached`: there is no API server to ask."""
        return await self.get_cached(name)
