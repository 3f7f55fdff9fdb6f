"""TrafficTargets and the routes that they name -> permissions; pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.policy import Ignored, Permission, Requests, Split
from osm_probes.sources.objects import MeshObject
from osm_probes.sources.smi import HTTPRouteGroup, Match, Rule, Subject, TCPRoute, TrafficSplit, TrafficTarget


@dataclass(frozen=True, slots=True)
class Routes:
    """What rules may name, by namespace and name."""

    groups: Mapping[tuple[str, str], HTTPRouteGroup] = field(default_factory=dict)
    tcp: Mapping[tuple[str, str], TCPRoute] = field(default_factory=dict)


def permission_of(target: TrafficTarget, *, routes: Routes) -> tuple[Permission | None, tuple[str, ...]]:
    """What a TrafficTarget permits, None if nothing; and the reasons why it, or a rule of it, has no effect.

    As in Open Service Mesh it has no effect as a whole if it has no rules, if one is of a kind that is not honoured, or
    if its destination is in another namespace. Other than there it has none, too, if it names no source: that must not
    mean everybody. A rule permits nothing if what it names does not exist. Without matches it permits all of its group,
    as SMI has it.

    TCP routes permit connections to TCP ports, and bound the HTTP rules beside them to their ports: if a target has
    TCP routes and none of them exists, it permits nothing.
    """
    if flaw := _flaw(target):
        return None, (flaw,)
    permission = _permission(target, routes)
    reasons = tuple(_missing(target, routes))
    if (not permission.requests and not permission.connections) or _is_unbound(target, routes):
        return None, reasons or ("its rules permit nothing",)
    return permission, reasons


def _flaw(target: TrafficTarget) -> str:
    spec, namespace = target.spec, target.metadata.namespace
    if spec.destination.namespace != namespace:
        return f"spec.destination.namespace: it can only be {namespace!r}, the policy's own"
    for each in (spec.destination, *spec.sources):
        if each.kind != "ServiceAccount":
            return f"{each.kind} {each.name}: only a ServiceAccount can call and be called"
    # What is left out must not permit more.
    if spec.destination.port is not None:
        return "spec.destination.port: not known in v1alpha3; name a TCPRoute with the port"
    if not spec.sources:
        return "spec.sources: there is none"
    if not spec.rules:
        return "spec.rules: there is none"
    return next((f"spec.rules: {each.kind} {each.name}: UDP is not honoured" for each in _of(target, "UDPRoute")), "")


def _permission(target: TrafficTarget, routes: Routes) -> Permission:
    tcp = [routes.tcp[place].spec.matches.ports for place in _places(target, "TCPRoute") if place in routes.tcp]
    requests = {_requests(match) for rule in _of(target, "HTTPRouteGroup") for match in _matches(target, rule, routes)}
    return Permission(
        f"{target.metadata.namespace}/{target.metadata.name}",
        destination=_identity(target.spec.destination, target),
        sources=tuple(sorted({_identity(each, target) for each in target.spec.sources})),
        requests=tuple(sorted(requests)),
        connections=bool(tcp),
        # One route to all ports makes the others' ports needless.
        ports=tuple(sorted({port for ports in tcp for port in ports})) if all(tcp) else (),
    )


def _identity(subject: Subject, target: TrafficTarget) -> Identity:
    return Identity(subject.namespace or target.metadata.namespace, subject.name)


def _of(target: TrafficTarget, kind: str) -> Iterator[Rule]:
    return (rule for rule in target.spec.rules if rule.kind == kind)


def _places(target: TrafficTarget, kind: str) -> Iterator[tuple[str, str]]:
    return ((target.metadata.namespace, rule.name) for rule in _of(target, kind))


def _matches(target: TrafficTarget, rule: Rule, routes: Routes) -> Iterator[Match]:
    group = routes.groups.get((target.metadata.namespace, rule.name))
    if group is not None:
        yield from (match for match in group.spec.matches if not rule.matches or match.name in rule.matches)


def _requests(match: Match) -> Requests:
    """Header `host` is what HTTP/2 calls :authority, and so does Envoy. It takes no empty expression."""
    parts = match.headers if isinstance(match.headers, list) else [match.headers]
    headers = {(name.lower(), pattern or "^$") for part in parts for name, pattern in part.items()}
    named = {(":authority" if name == "host" else name, pattern) for name, pattern in headers}
    methods = set(match.methods)
    return Requests(
        str(match.path_regex),
        methods=() if "*" in methods else tuple(sorted(methods)),
        headers=tuple(sorted(named)),
    )


def _missing(target: TrafficTarget, routes: Routes) -> Iterator[str]:
    for rule in target.spec.rules:
        place = target.metadata.namespace, rule.name
        if place not in (routes.groups if rule.kind == "HTTPRouteGroup" else routes.tcp):
            yield f"{rule.kind} {'/'.join(place)} does not exist"
        elif place in routes.groups and rule.kind == "HTTPRouteGroup":
            known = {match.name for match in routes.groups[place].spec.matches}
            yield from (
                f"{rule.kind} {'/'.join(place)} has no match {name!r}" for name in rule.matches if name not in known
            )


def _is_unbound(target: TrafficTarget, routes: Routes) -> bool:
    """Whether it names TCP routes, of which none exists."""
    places = list(_places(target, "TCPRoute"))
    return bool(places) and not any(place in routes.tcp for place in places)


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


@dataclass(frozen=True, slots=True)
class Policies:
    """What the fields of `Mesh` with these names hold."""

    permissions: tuple[Permission, ...]
    splits: tuple[Split, ...]
    ignored: frozenset[Ignored]


def policies_from_objects(objects: Iterable[MeshObject]) -> Policies:
    """The policies among these objects of the mesh's namespaces, which come sorted by namespace and name.

    Of two TrafficSplits for one service the first counts.
    """
    known = list(objects)
    routes = _routes(known)
    permissions: list[Permission] = []
    splits: dict[tuple[str, str], Split] = {}
    ignored: list[Ignored] = []
    for each in known:
        reasons: tuple[str, ...] = ()
        if isinstance(each, TrafficTarget):
            permission, reasons = permission_of(each, routes=routes)
            permissions += [permission] if permission else []
        elif isinstance(each, TrafficSplit):
            split, reasons = split_of(each)
            if split and splits.setdefault((split.namespace, split.service), split) is not split:
                reasons = (f"another TrafficSplit is for the service {split.service!r}, too",)
        policy = f"{type(each).__name__} {each.metadata.namespace}/{each.metadata.name}"
        ignored += (Ignored(policy, reason) for reason in reasons)
    return Policies(tuple(sorted(permissions)), tuple(sorted(splits.values())), frozenset(ignored))


def _routes(objects: Iterable[MeshObject]) -> Routes:
    groups: dict[tuple[str, str], HTTPRouteGroup] = {}
    tcp: dict[tuple[str, str], TCPRoute] = {}
    for each in objects:
        place = each.metadata.namespace, each.metadata.name
        if isinstance(each, HTTPRouteGroup):
            groups[place] = each
        elif isinstance(each, TCPRoute):
            tcp[place] = each
    return Routes(groups, tcp)
