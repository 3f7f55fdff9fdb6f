"""Destinations -> routes: which cluster a request's host means."""

from collections.abc import Iterable, Sequence
from typing import Final

from envoy.config.route.v3.route_components_pb2 import (
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from osm_probes.mesh.policy import Permission
from osm_probes.snapshot.snapshot import ROUTES, Resource
from osm_probes.xds.destination import Destination, Share, whole
from osm_probes.xds.names import cluster_name, hosts, inbound_routes_name, local_name
from osm_probes.xds.rbac import RBAC_NAME, route_rules
from osm_probes.xds.wire import seconds, to_any, to_bytes, to_resource

# Only requests that no application can have seen.
_RETRY_ON: Final = "connect-failure,refused-stream,reset-before-request"


def outbound_host(to: Destination, *, caller_namespace: str, shares: tuple[Share, ...]) -> bytes:
    """Requests to this destination, shared out among these clusters, as a part of a route configuration.

    A headless service's chain is reached by its pods' addresses alone, so any host there means it.
    """
    domains = ["*"] if to.headless else hosts(to, caller_namespace=caller_namespace)
    host = VirtualHost(name=cluster_name(to), domains=domains, routes=[_route(shares)])
    host.retry_policy.CopyFrom(RetryPolicy(retry_on=_RETRY_ON, num_retries=UInt32Value(value=2)))
    return to_bytes(RouteConfiguration(virtual_hosts=[host]))


def outbound_routes(name: str, *, virtual_hosts: Iterable[bytes]) -> Resource:
    """A route configuration of these parts."""
    head = RouteConfiguration(name=name, ignore_port_in_host_matching=True, validate_clusters=BoolValue(value=False))
    return Resource.of(name, ROUTES, b"".join([to_bytes(head), *virtual_hosts]))


def inbound_routes(
    to: Destination, *, target: int, admitted: tuple[Permission, ...] | None, trust_domain: str
) -> Resource:
    """Requests that come for this destination go to the application, if they are permitted; None = all are.

    Whatever the host is: they may be meant for a service that is split, with this one as a backend.
    """
    name = inbound_routes_name(to, target=target)
    route = _route(whole(local_name(to, target=target)))
    route.typed_per_filter_config[RBAC_NAME].CopyFrom(to_any(route_rules(admitted, trust_domain=trust_domain)))
    host = VirtualHost(name=cluster_name(to), domains=["*"], routes=[route])
    return to_resource(RouteConfiguration(name=name, virtual_hosts=[host]), name=name)


def _route(shares: Sequence[Share]) -> Route:
    # Envoy's 15 s would cut long answers that work without a mesh; 0 leaves the limit to caller and application.
    action = RouteAction(timeout=seconds(0))
    if len(shares) == 1:
        action.cluster = shares[0].cluster
    else:
        action.weighted_clusters.CopyFrom(WeightedCluster(clusters=[_weighted(share) for share in shares]))
    return Route(match=RouteMatch(prefix="/"), route=action)


def _weighted(share: Share) -> WeightedCluster.ClusterWeight:
    return WeightedCluster.ClusterWeight(name=share.cluster, weight=UInt32Value(value=share.weight))
