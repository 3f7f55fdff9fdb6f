"""Destinations -> routes: which cluster a request's host means."""

from collections.abc import Iterable
from typing import Final

from envoy.config.route.v3.route_components_pb2 import RetryPolicy, Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from osm_probes.snapshot.snapshot import ROUTES, Resource
from osm_probes.xds.destination import Destination
from osm_probes.xds.names import cluster_name, hosts, inbound_routes_name, local_name
from osm_probes.xds.wire import seconds, to_bytes, to_resource

# Only requests that no application can have seen.
_RETRY_ON: Final = "connect-failure,refused-stream,reset-before-request"


def outbound_host(to: Destination, *, caller_namespace: str) -> bytes:
    """Requests to this destination, as a part of a route configuration: see `outbound_routes`.

    A headless service's chain is reached by its pods' addresses alone, so any host there means it.
    """
    domains = ["*"] if to.headless else hosts(to, caller_namespace=caller_namespace)
    host = VirtualHost(name=cluster_name(to), domains=domains, routes=[_route(cluster_name(to))])
    host.retry_policy.CopyFrom(RetryPolicy(retry_on=_RETRY_ON, num_retries=UInt32Value(value=2)))
    return to_bytes(RouteConfiguration(virtual_hosts=[host]))


def outbound_routes(name: str, *, virtual_hosts: Iterable[bytes]) -> Resource:
    """A route configuration of these parts."""
    head = RouteConfiguration(name=name, ignore_port_in_host_matching=True, validate_clusters=BoolValue(value=False))
    return Resource.of(name, ROUTES, b"".join([to_bytes(head), *virtual_hosts]))


def inbound_routes(to: Destination, *, target: int) -> Resource:
    """All requests that come for this destination go to the application."""
    name = inbound_routes_name(to, target=target)
    host = VirtualHost(name=cluster_name(to), domains=["*"], routes=[_route(local_name(to, target=target))])
    return to_resource(RouteConfiguration(name=name, virtual_hosts=[host]), name=name)


def _route(cluster: str) -> Route:
    # Envoy's 15 s would cut long answers that work without a mesh; 0 leaves the limit to caller and application.
    return Route(match=RouteMatch(prefix="/"), route=RouteAction(cluster=cluster, timeout=seconds(0)))
