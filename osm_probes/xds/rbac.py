"""Permissions -> RBAC: which requests an inbound route accepts.

A TrafficTarget becomes a permission in `sources/policies.py`; TCP permissions are enforced by `xds/secrets.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from envoy.config.rbac.v3 import rbac_pb2 as rules
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC, RBACPerRoute
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.type.matcher.v3.path_pb2 import PathMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from osm_probes.mesh.policy import Permission, RequestMatch
from osm_probes.xds.protobuf import to_any

RBAC_FILTER_NAME: Final = "envoy.filters.http.rbac"
_DENY_ALL: Final = rules.RBAC(action=rules.RBAC.ALLOW)
RBAC_FILTER: Final = HttpFilter(name=RBAC_FILTER_NAME, typed_config=to_any(RBAC(rules=_DENY_ALL)))
"""Denies all requests. Each route overrides it: a changed route takes effect at once, a changed listener drains."""

DOT_SEGMENTS: Final = r"(?:.*[/\\]|.*%(?:2[fF]|5[cC]))(?:\.|%2[eE]){1,2}(?:(?:[/\\;]|%(?:2[fF]|5[cC])).*)?"
"""Matches paths with a segment `.` or `..`, plain or encoded. An application that resolves them would serve another
path than the permitted one."""
_ANY_PATH: Final = {"", ".*"}


def rbac_per_route(permissions: Sequence[Permission] | None, *, trust_domain: str) -> RBACPerRoute:
    """Accept requests that any of these permissions covers, all requests if None; others get 403.

    All permissions of a port are policies of its single route. With a route for each permission, the first route with a
    matching path would decide alone, and reject callers that another permission covers.
    """
    if permissions is None:
        return RBACPerRoute()
    policies = {permission.name: _policy(permission, trust_domain) for permission in permissions}
    return RBACPerRoute(rbac=RBAC(rules=rules.RBAC(action=rules.RBAC.ALLOW, policies=policies)))


def _policy(permission: Permission, trust_domain: str) -> rules.Policy:
    return rules.Policy(
        permissions=[_all_of(list(_conditions(match))) for match in permission.requests],
        principals=[_principal(source.principal(trust_domain)) for source in permission.sources],
    )


def _principal(name: str) -> rules.Principal:
    """A client certificate with this DNS name. Envoy would compare URI names first; workload certificates have none."""
    return rules.Principal(authenticated=rules.Principal.Authenticated(principal_name=StringMatcher(exact=name)))


def _conditions(match: RequestMatch) -> Iterator[rules.Permission]:
    if match.methods:
        methods = [_header(":method", StringMatcher(exact=method)) for method in match.methods]
        yield rules.Permission(or_rules=rules.Permission.Set(rules=methods))
    if match.path not in _ANY_PATH:
        yield _path(match.path)
        yield rules.Permission(not_rule=_path(DOT_SEGMENTS))
    for name, pattern in match.headers:
        yield _header(name, _regex(pattern))


def _all_of(conditions: list[rules.Permission]) -> rules.Permission:
    if not conditions:
        return rules.Permission(any=True)
    return rules.Permission(and_rules=rules.Permission.Set(rules=conditions))


def _path(pattern: str) -> rules.Permission:
    return rules.Permission(url_path=PathMatcher(path=_regex(pattern)))


def _header(name: str, value: StringMatcher) -> rules.Permission:
    return rules.Permission(header=HeaderMatcher(name=name, string_match=value))


def _regex(pattern: str) -> StringMatcher:
    return StringMatcher(safe_regex=RegexMatcher(regex=pattern))
