"""TrafficTargets and the routes that they name -> permissions; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.policy import Permission, Requests
from osm_probes.sources.smi import HTTPRouteGroup, Match, Rule, Subject, TCPRoute, TrafficTarget


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
