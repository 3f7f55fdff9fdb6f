"""What an injector needs besides its webhook: namespaces, a store of bootstraps, and the webhook's CA bundle."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from osm_probes.admission.namespaces import MeshNamespaces, NamespaceLookup
from osm_probes.admission.review import AdmissionRequest
from osm_probes.admission.webhook import BootstrapStore, NewUuid
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.mesh.proxy_uuid import random_uuid
from osm_probes.mesh.source import MeshSource
from osm_probes.pki.trust import CaBundle, Trust


@dataclass(frozen=True, slots=True)
class InjectorBackends:
    """The backends of an injector, in a cluster or standalone.

    bundle: the CA bundle with which the API server verifies the webhook. bootstrap_store: None = bootstraps are not
    stored. new_uuid: makes the uuids of new proxies. problems: the checks of readiness that they decide, by name.
    warnings: what a person should know although it decides nothing. changes: all values on which warnings depend.
    review_arrived: called for each review of a new pod. background_work: coroutine functions that run until the
    injector stops, by the name of their task.
    """

    namespaces: NamespaceLookup
    bundle: Latest[CaBundle]
    bootstrap_store: BootstrapStore | None = None
    new_uuid: NewUuid = random_uuid
    problems: Mapping[str, Latest[Problem]] = field(default_factory=dict)
    warnings: Callable[[], Iterable[Problem]] = tuple
    changes: tuple[Latest[Any], ...] = ()
    review_arrived: Callable[[AdmissionRequest], None] = lambda _: None
    background_work: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)


def standalone_backends(source: MeshSource, trust: Trust) -> InjectorBackends:
    """Without a cluster: bootstraps are not stored, and clients trust the CA itself."""
    return InjectorBackends(MeshNamespaces(source), Latest(CaBundle(trust.roots_pem)))
