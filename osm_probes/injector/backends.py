"""What an injector works with beside its webhook: namespaces, where bootstraps go, and what the API server trusts."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from osm_probes.admission.namespaces import KnownNamespaces, Namespaces
from osm_probes.admission.webhook import Store
from osm_probes.foundation.latest import Latest
from osm_probes.mesh.source import MeshSource
from osm_probes.pki.trust import CaBundle, Trust


@dataclass(frozen=True, slots=True)
class InjectorBackends:
    """How this injector gets at the world; `works` go on beside it, by their names."""

    namespaces: Namespaces
    bundle: Latest[CaBundle]
    store: Store | None = None
    works: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)


def standalone_backends(source: MeshSource, trust: Trust) -> InjectorBackends:
    """On one machine: nobody stores bootstraps, and whoever asks trusts the authority."""
    return InjectorBackends(KnownNamespaces(source), Latest(CaBundle(trust.roots_pem)))
