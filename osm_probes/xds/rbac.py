"""Permissions -> Envoy's RBAC: which requests an inbound route lets through."""

from collections.abc import Iterator, Sequence
from typing import Final

from envoy.config.rbac.v3 import rbac_pb2 as rules
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC, RBACPerRoute
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.type.matcher.v3.path_pb2 import PathMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from osm_probes.mesh.policy import Permission, Requests
from osm_probes.xds.wire import to_any

RBAC_NAME: Final = "envoy.filters.http.rbac"
_NOTHING: Final = rules.RBAC(action=rules.RBAC.ALLOW)
RBAC_FILTER: Final = HttpFilter(name=RBAC_NAME, typed_config=to_any(RBAC(rules=_NOTHING)))
"""Lets nothing through: what may pass is said by each route, since a listener's own filter changes slowly."""

# Segments . and .., as they are or encoded: an application that resolves them serves another path than was permitted.
_DOTS: Final = r"(?:.*[/\\]|.*%(?:2[fF]|5[cC]))(?:\.|%2[eE]){1,2}(?:(?:[/\\;]|%(?:2[fF]|5[cC])).*)?"
_ANY_PATH: Final = {"", ".*"}


def route_rules(admitted: Sequence[Permission] | None, *, trust_domain: str) -> RBACPerRoute:
    """Let through what any of these permissions covers, all if there are none at all (None); the rest gets 403.

    All rules of a port are in its one route, since routes exclude each other: the first whose path matches would
    decide, and a caller that another one permits would be refused.
    """
    if admitted is None:
        return RBACPerRoute()
    policies = {each.name: _policy(each, trust_domain) for each in admitted}
    return RBACPerRoute(rbac=RBAC(rules=rules.RBAC(action=rules.RBAC.ALLOW, policies=policies)))


def _policy(permission: Permission, trust_domain: str) -> rules.Policy:
    return rules.Policy(
        permissions=[_all(list(_conditions(requests))) for requests in permission.requests],
        principals=[_principal(source.principal(trust_domain)) for source in permission.sources],
    )


def _principal(name: str) -> rules.Principal:
    """Who shows a certificate with this DNS name; those of workloads have no URI, which Envoy would look at first."""
    return rules.Principal(authenticated=rules.Principal.Authenticated(principal_name=StringMatcher(exact=name)))


def _conditions(requests: Requests) -> Iterator[rules.Permission]:
    if requests.methods:
        methods = [_header(":method", StringMatcher(exact=method)) for method in requests.methods]
        yield rules.Permission(or_rules=rules.Permission.Set(rules=methods))
    if requests.path not in _ANY_PATH:
        yield _path(requests.path)
        yield rules.Permission(not_rule=_path(_DOTS))
    for name, pattern in requests.headers:
        yield _header(name, _matching(pattern))


def _all(conditions: list[rules.Permission]) -> rules.Permission:
    if not conditions:
        return rules.Permission(any=True)
    return rules.Permission(and_rules=rules.Permission.Set(rules=conditions))


def _path(pattern: str) -> rules.Permission:
    return rules.Permission(url_path=PathMatcher(path=_matching(pattern)))


def _header(name: str, value: StringMatcher) -> rules.Permission:
    return rules.Permission(header=HeaderMatcher(name=name, string_match=value))


def _matching(pattern: str) -> StringMatcher:
    return StringMatcher(safe_regex=RegexMatcher(regex=pattern))
