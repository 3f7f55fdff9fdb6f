"""TrafficSplits -> splits; pure."""

from collections import Counter
from typing import Final

from osm_probes.mesh.policy import Split
from osm_probes.sources.smi import TrafficSplit

_DOMAINS: Final = ("", ".svc", ".svc.cluster", ".svc.cluster.local")


def split_of(each: TrafficSplit) -> tuple[Split | None, tuple[str, ...]]:
    """How a TrafficSplit shares out the calls to its service, None if not; and the reasons why it has no effect.

    One with `matches` (v1alpha4) has none: it is for some requests only, and must not move the others. Services are of
    its own namespace, by their name alone or in full. A service that is named twice gets both shares.
    """
    namespace, spec = each.metadata.namespace, each.spec
    if spec.matches:
        return None, ("spec.matches: a split of some requests only is not honoured",)
    shares: Counter[str] = Counter()
    for name, weight in ((spec.service, 0), *((backend.service, backend.weight) for backend in spec.backends)):
        service = _service(name, namespace)
        if not service:
            return None, (f"{name!r} is no service of the namespace {namespace!r}",)
        shares[service] += weight
    backends = tuple(sorted((name, weight) for name, weight in shares.items() if weight))
    if not backends:
        return None, ("spec.backends: no weight is above 0",)
    return Split(namespace, _service(spec.service, namespace), backends), ()


def _service(name: str, namespace: str) -> str:
    """The service that a name means; "" if it is one of another namespace."""
    for domain in _DOMAINS:
        name = name.removesuffix(f".{namespace}{domain}")
    return "" if "." in name else name
