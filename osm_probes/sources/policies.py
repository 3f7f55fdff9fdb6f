"""SMI policies -> permissions and splits of the mesh, and the reasons for policies without effect; without I/O."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.names import SERVICE_DOMAINS
from osm_probes.mesh.policy import IgnoredPolicy, Permission, RequestMatch, Split
from osm_probes.sources.objects import MeshObject
from osm_probes.sources.route_group import UsableMatches, usable_matches
from osm_probes.sources.schema import ObjectKey
from osm_probes.sources.smi import HTTPMatch, HTTPRouteGroup, Rule, Subject, TCPRoute, TrafficSplit, TrafficTarget


@dataclass(frozen=True, slots=True)
class Policies:
    """The values of the fields of `Mesh` with these names."""

    permissions: tuple[Permission, ...]
    splits: tuple[Split, ...]
    ignored_policies: frozenset[IgnoredPolicy]


@dataclass(frozen=True, slots=True)
class _RouteIndex:
    """The routes that the rules of TrafficTargets refer to."""

    groups: Mapping[ObjectKey, UsableMatches] = field(default_factory=dict)
    tcp: Mapping[ObjectKey, TCPRoute] = field(default_factory=dict)


def policies_from_objects(objects: Iterable[MeshObject]) -> Policies:
    """The policies among the objects of the mesh's namespaces, which must be sorted by namespace and name.

    If several TrafficSplits name the same service, the first one counts.
    """
    ordered = list(objects)
    routes = _index_routes(ordered)
    permissions: list[Permission] = []
    splits: dict[ObjectKey, Split] = {}
    ignored = [
        IgnoredPolicy(f"HTTPRouteGroup {'/'.join(key)}", reason)
        for key, group in routes.groups.items()
        for reason in group.problems
    ]
    for policy in ordered:
        reasons: tuple[str, ...] = ()
        if isinstance(policy, TrafficTarget):
            permission, reasons = _permission_from_target(policy, routes)
            permissions += [permission] if permission else []
        elif isinstance(policy, TrafficSplit):
            split, reasons = _split_from_traffic_split(policy)
            if split and splits.setdefault((split.namespace, split.service), split) is not split:
                reasons = (f"another TrafficSplit already splits the service {split.service!r}",)
        name = f"{type(policy).__name__} {policy.metadata.namespace}/{policy.metadata.name}"
        ignored += (IgnoredPolicy(name, reason) for reason in reasons)
    return Policies(tuple(sorted(permissions)), tuple(sorted(splits.values())), frozenset(ignored))


def _index_routes(objects: Iterable[MeshObject]) -> _RouteIndex:
    groups: dict[ObjectKey, UsableMatches] = {}
    tcp: dict[ObjectKey, TCPRoute] = {}
    for found in objects:
        key = found.metadata.namespace, found.metadata.name
        if isinstance(found, HTTPRouteGroup):
            groups[key] = usable_matches(found)
        elif isinstance(found, TCPRoute):
            tcp[key] = found
    return _RouteIndex(groups, tcp)


def _permission_from_target(target: TrafficTarget, routes: _RouteIndex) -> tuple[Permission | None, tuple[str, ...]]:
    """What a TrafficTarget permits, None if nothing; and the reasons why it, or a rule of it, has no effect.

    As in Open Service Mesh, it has no effect if it has no rules, if a rule has an unsupported kind, or if its
    destination is in another namespace. Unlike there, it also has no effect if it names no source: that must not mean
    everybody. A rule permits nothing if its route does not exist. Without matches it permits the whole route group, as
    in the SMI specification.

    TCP routes permit connections to TCP ports, and limit the target's HTTP rules to their ports. If a target names TCP
    routes and none of them exists, it permits nothing.
    """
    if reason := _invalid_reason(target):
        return None, (reason,)
    permission = _permission(target, routes)
    reasons = tuple(_missing_routes(target, routes))
    if (not permission.requests and not permission.connections) or _lacks_all_tcp_routes(target, routes):
        return None, reasons or ("its rules permit nothing",)
    return permission, reasons


def _invalid_reason(target: TrafficTarget) -> str:
    spec, namespace = target.spec, target.metadata.namespace
    if spec.destination.namespace != namespace:
        return f"spec.destination.namespace: it must be {namespace!r}, the policy's own namespace"
    for subject in (spec.destination, *spec.sources):
        if subject.kind != "ServiceAccount":
            return f"{subject.kind} {subject.name}: only kind ServiceAccount is supported"
    # The target must not permit more because a field is not supported.
    if spec.destination.port is not None:
        return "spec.destination.port: not part of v1alpha3; use a TCPRoute with the port"
    if not spec.sources:
        return "spec.sources is empty"
    if not spec.rules:
        return "spec.rules is empty"
    udp_rule = next(_rules_of_kind(target, "UDPRoute"), None)
    return f"spec.rules: UDPRoute {udp_rule.name}: UDP is not supported" if udp_rule else ""


def _permission(target: TrafficTarget, routes: _RouteIndex) -> Permission:
    tcp_ports = [routes.tcp[key].spec.matches.ports for key in _route_keys(target, "TCPRoute") if key in routes.tcp]
    requests = {
        _request_match(match)
        for rule in _rules_of_kind(target, "HTTPRouteGroup")
        for match in _matches(target, rule, routes)
    }
    return Permission(
        f"{target.metadata.namespace}/{target.metadata.name}",
        destination=_identity(target.spec.destination, target),
        sources=tuple(sorted({_identity(source, target) for source in target.spec.sources})),
        requests=tuple(sorted(requests)),
        connections=bool(tcp_ports),
        # A route without ports permits all ports, whatever the others list.
        ports=tuple(sorted({port for ports in tcp_ports for port in ports})) if all(tcp_ports) else (),
    )


def _identity(subject: Subject, target: TrafficTarget) -> Identity:
    return Identity(subject.namespace or target.metadata.namespace, subject.name)


def _rules_of_kind(target: TrafficTarget, kind: str) -> Iterator[Rule]:
    return (rule for rule in target.spec.rules if rule.kind == kind)


def _route_keys(target: TrafficTarget, kind: str) -> Iterator[ObjectKey]:
    return ((target.metadata.namespace, rule.name) for rule in _rules_of_kind(target, kind))


def _matches(target: TrafficTarget, rule: Rule, routes: _RouteIndex) -> Iterator[HTTPMatch]:
    group = routes.groups.get((target.metadata.namespace, rule.name))
    if group is not None:
        yield from (match for match in group.matches if not rule.matches or match.name in rule.matches)


def _request_match(match: HTTPMatch) -> RequestMatch:
    """Envoy's name for the header `host` is `:authority`, as in HTTP/2. It rejects an empty expression."""
    maps = match.headers if isinstance(match.headers, list) else [match.headers]
    headers = {(name.lower(), pattern or "^$") for part in maps for name, pattern in part.items()}
    renamed = {(":authority" if name == "host" else name, pattern) for name, pattern in headers}
    methods = set(match.methods)
    return RequestMatch(
        str(match.path_regex),
        methods=() if "*" in methods else tuple(sorted(methods)),
        headers=tuple(sorted(renamed)),
    )


def _missing_routes(target: TrafficTarget, routes: _RouteIndex) -> Iterator[str]:
    for rule in target.spec.rules:
        key = target.metadata.namespace, rule.name
        if key not in (routes.groups if rule.kind == "HTTPRouteGroup" else routes.tcp):
            yield f"{rule.kind} {'/'.join(key)} does not exist"
        elif key in routes.groups and rule.kind == "HTTPRouteGroup":
            missing = (name for name in rule.matches if name not in routes.groups[key].names)
            yield from (f"{rule.kind} {'/'.join(key)} has no match {name!r}" for name in missing)


def _lacks_all_tcp_routes(target: TrafficTarget, routes: _RouteIndex) -> bool:
    """True if it names TCP routes and none of them exists."""
    keys = list(_route_keys(target, "TCPRoute"))
    return bool(keys) and not any(key in routes.tcp for key in keys)


def _split_from_traffic_split(policy: TrafficSplit) -> tuple[Split | None, tuple[str, ...]]:
    """The split of a TrafficSplit, None if it has no effect; and the reasons why.

    A TrafficSplit with `matches` (v1alpha4) has no effect: it is for some requests only, and must not move the others.
    Services belong to its own namespace, and may be written as a name or a DNS name. A service that is listed twice
    gets the sum of its weights.
    """
    namespace, spec = policy.metadata.namespace, policy.spec
    if spec.matches:
        return None, ("spec.matches: splitting only some requests is not supported",)
    weights: Counter[str] = Counter()
    for name, weight in ((spec.service, 0), *((backend.service, backend.weight) for backend in spec.backends)):
        service = _service_name(name, namespace)
        if not service:
            return None, (f"{name!r} is not a service of the namespace {namespace!r}",)
        weights[service] += weight
    backends = tuple(sorted((name, weight) for name, weight in weights.items() if weight))
    if not backends:
        return None, ("spec.backends: no weight is above 0",)
    return Split(namespace, _service_name(spec.service, namespace), backends), ()


def _service_name(name: str, namespace: str) -> str:
    """The service with this name or DNS name; "" if it is in another namespace."""
    for domain in SERVICE_DOMAINS:
        name = name.removesuffix(f".{namespace}{domain}")
    return "" if "." in name else name
