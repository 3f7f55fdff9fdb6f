"""A namespace's name -> what it says about injection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.source import MeshSource


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """What a namespace says about injection."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class Namespaces(Protocol):
    """Where namespaces are looked up: None = there is none of this name. Raises OsmError where that cannot be known."""

    async def known(self, name: str) -> NamespaceFacts | None:
        """The namespace as it was heard of last, at once."""

    async def newest(self, name: str) -> NamespaceFacts | None:
        """The namespace as it is at this moment; somebody may be asked."""


class MeshUnknownError(OsmError):
    """Whether a namespace is enrolled cannot be told now: the mesh was not read yet, or nobody can be asked."""


class KnownNamespaces:
    """The namespaces of the mesh as it was read; those outside of it are unknown."""

    def __init__(self, source: MeshSource) -> None:
        self._source = source

    async def known(self, name: str) -> NamespaceFacts | None:
        """The namespace; None if it is not enrolled. Raises MeshUnknownError."""
        mesh = self._source.mesh.value
        if mesh is None:
            raise MeshUnknownError(self._source.problem.value or "the mesh has not been read yet")
        found = mesh.namespaces.get(name)
        return NamespaceFacts(found.labels, found.annotations) if found is not None else None

    async def newest(self, name: str) -> NamespaceFacts | None:
        """The same: nobody can be asked."""
        return await self.known(name)
