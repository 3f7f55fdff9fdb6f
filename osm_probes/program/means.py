"""What an injector works with beside its webhook: namespaces, where bootstraps go, and what the API server trusts."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from osm_probes.admission.eligible import NamespaceFacts, Namespaces
from osm_probes.admission.webhook import Store
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.pki.trust import Trust
from osm_probes.program.world import MeshSource


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the API server trusts where it asks the webhook: certificates, or why there are none."""

    pem: bytes = b""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """How this injector gets at the world; `works` go on beside it, by their names."""

    namespaces: Namespaces
    bundle: Latest[Bundle]
    store: Store | None = None
    works: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)


def standalone_means(source: MeshSource, trust: Trust) -> Means:
    """On one machine: nobody stores bootstraps, and whoever asks trusts the authority."""
    return Means(KnownNamespaces(source), Latest(Bundle(trust.roots_pem)))


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
