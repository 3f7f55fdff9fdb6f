"""Destinations -> route configurations (RDS): a request's host selects the cluster."""

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
from osm_probes.xds.destination import ClusterWeight, Destination, single_cluster
from osm_probes.xds.protobuf import to_any, to_bytes, to_duration, to_resource
from osm_probes.xds.rbac import RBAC_FILTER_NAME, rbac_per_route
from osm_probes.xds.resource_names import cluster_name, inbound_routes_name, local_cluster_name, virtual_host_domains

# Only failures before any application can have received the request.
_RETRY_ON: Final = "connect-failure,refused-stream,reset-before-request"


def outbound_virtual_host(
    destination: Destination, *, caller_namespace: str, clusters: tuple[ClusterWeight, ...]
) -> bytes:
    """The virtual host of requests to this destination: a serialised RouteConfiguration with nothing else in it.

    The filter chain of a headless service matches its pods' addresses only, so its virtual host matches every host.
    """
    domains = ["*"] if destination.headless else virtual_host_domains(destination, caller_namespace=caller_namespace)
    host = VirtualHost(name=cluster_name(destination), domains=domains, routes=[_route(clusters)])
    host.retry_policy.CopyFrom(RetryPolicy(retry_on=_RETRY_ON, num_retries=UInt32Value(value=2)))
    return to_bytes(RouteConfiguration(virtual_hosts=[host]))


def outbound_route_configuration(name: str, *, virtual_hosts: Iterable[bytes]) -> Resource:
    """A route configuration with these virtual hosts, which are serialised already."""
    head = RouteConfiguration(name=name, ignore_port_in_host_matching=True, validate_clusters=BoolValue(value=False))
    return Resource.of(name, ROUTES, b"".join([to_bytes(head), *virtual_hosts]))


def inbound_route_configuration(
    destination: Destination, *, target: int, permissions: tuple[Permission, ...] | None, trust_domain: str
) -> Resource:
    """Permitted requests for this destination go to the application; None = all are permitted.

    It matches every host: a request may be addressed to a split service that has this one as a backend.
    """
    name = inbound_routes_name(destination, target=target)
    route = _route(single_cluster(local_cluster_name(destination, target=target)))
    route.typed_per_filter_config[RBAC_FILTER_NAME].CopyFrom(
        to_any(rbac_per_route(permissions, trust_domain=trust_domain))
    )
    host = VirtualHost(name=cluster_name(destination), domains=["*"], routes=[route])
    return to_resource(RouteConfiguration(name=name, virtual_hosts=[host]), name=name)


def _route(clusters: Sequence[ClusterWeight]) -> Route:
    # Envoy's default of 15 s would cut off slow responses that work without a mesh. 0 = no timeout of the sidecar's.
    action = RouteAction(timeout=to_duration(0))
    if len(clusters) == 1:
        action.cluster = clusters[0].cluster
    else:
        action.weighted_clusters.CopyFrom(WeightedCluster(clusters=[_weighted(cluster) for cluster in clusters]))
    return Route(match=RouteMatch(prefix="/"), route=action)


def _weighted(cluster: ClusterWeight) -> WeightedCluster.ClusterWeight:
    return WeightedCluster.ClusterWeight(name=cluster.cluster, weight=UInt32Value(value=cluster.weight))
