"""Destinations -> listeners (LDS): for connections of the application and of other sidecars."""

from collections.abc import Iterable, Sequence
from typing import Final

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Protocol
from osm_probes.mesh.ports import INBOUND_PORT, OUTBOUND_PORT, PROXY_METRICS_PATH, PROXY_METRICS_PORT
from osm_probes.snapshot.snapshot import LISTENER, Resource
from osm_probes.xds.destination import ClusterWeight, Destination, single_cluster
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.protobuf import to_any, to_bytes, to_resource
from osm_probes.xds.rbac import RBAC_FILTER
from osm_probes.xds.resource_names import (
    INBOUND_LISTENER,
    METRICS_CLUSTER,
    OUTBOUND_LISTENER,
    PASSTHROUGH_CLUSTER,
    PROMETHEUS_LISTENER,
    cluster_name,
    inbound_routes_name,
    inbound_validation_name,
    local_cluster_name,
    outbound_routes_name,
    server_name,
    tcp_inbound_validation_name,
)
from osm_probes.xds.transport_sockets import ads_config_source, downstream_tls_socket

ROUTER: Final = HttpFilter(name="envoy.filters.http.router", typed_config=to_any(Router()))


def outbound_filter_chains(destination: Destination, *, clusters: tuple[ClusterWeight, ...]) -> bytes:
    """The filter chains of traffic to this destination: a serialised Listener with nothing else in it.

    It is empty if the destination has no address. TCP connections are distributed to `clusters` here, HTTP requests by
    their route.
    """
    name = cluster_name(destination)
    if destination.protocol is Protocol.TCP:
        filters = [_tcp_proxy_filter(name, clusters)]
    else:
        filters = [_http_filter(outbound_routes_name(destination), filters=(ROUTER,))]
    chains = []
    # The pods of a headless service may have different ports.
    for port in sorted({endpoint.port for endpoint in destination.dialled}):
        match = FilterChainMatch(
            prefix_ranges=[_host_range(endpoint.address) for endpoint in destination.dialled if endpoint.port == port],
            destination_port=UInt32Value(value=port),
        )
        chains.append(FilterChain(name=f"{name} at {port}", filter_chain_match=match, filters=filters))
    return to_bytes(Listener(filter_chains=chains))


def inbound_filter_chain(destination: Destination, *, target: int, identity: Identity) -> bytes:
    """The filter chain of mTLS traffic to this destination: a serialised Listener with nothing else in it.

    It does not depend on permissions: a changed listener drains its connections, while changed secrets and routes take
    effect at once.
    """
    name = local_cluster_name(destination, target=target)
    if destination.protocol is Protocol.TCP:
        validation = tcp_inbound_validation_name(destination, target=target)
        filters = [_tcp_proxy_filter(name, single_cluster(name))]
    else:
        validation = inbound_validation_name(identity)
        filters = [_http_filter(inbound_routes_name(destination, target=target), filters=(RBAC_FILTER, ROUTER))]
    chain = FilterChain(
        name=name,
        filter_chain_match=FilterChainMatch(
            destination_port=UInt32Value(value=target),
            transport_protocol="tls",
            server_names=[server_name(destination)],
        ),
        transport_socket=downstream_tls_socket(identity, validation=validation),
        filters=filters,
    )
    return to_bytes(Listener(filter_chains=[chain]))


def passthrough_filter_chain() -> bytes:
    """Egress: traffic to addresses outside the mesh is forwarded unchanged."""
    filters = [_tcp_proxy_filter(PASSTHROUGH_CLUSTER, single_cluster(PASSTHROUGH_CLUSTER))]
    chain = FilterChain(name=PASSTHROUGH_CLUSTER, filters=filters)
    return to_bytes(Listener(default_filter_chain=chain))


def outbound_listener(chains: Iterable[bytes], *, ipv6: bool) -> Resource:
    """The listener of the application's own connections. Envoy closes connections that no filter chain matches."""
    listener = new_listener(OUTBOUND_LISTENER, port=OUTBOUND_PORT, ipv6=ipv6)
    listener.listener_filters.extend([_listener_filter("original_dst", OriginalDst())])
    return Resource.of(OUTBOUND_LISTENER, LISTENER, b"".join([to_bytes(listener), *chains]))


def inbound_listener(chains: Iterable[bytes], *, ipv6: bool) -> Resource:
    """The listener of connections to the application."""
    listener = new_listener(INBOUND_LISTENER, port=INBOUND_PORT, ipv6=ipv6)
    listener.listener_filters.extend(
        [_listener_filter("original_dst", OriginalDst()), _listener_filter("tls_inspector", TlsInspector())]
    )
    return Resource.of(INBOUND_LISTENER, LISTENER, b"".join([to_bytes(listener), *chains]))


def prometheus_listener(*, ipv6: bool) -> Resource:
    """The sidecar's statistics, and nothing else of its admin port."""
    listener = new_listener(PROMETHEUS_LISTENER, port=PROXY_METRICS_PORT, ipv6=ipv6)
    route = Route(match=RouteMatch(path=PROXY_METRICS_PATH), route=RouteAction(cluster=METRICS_CLUSTER))
    host = VirtualHost(name=PROMETHEUS_LISTENER, domains=["*"], routes=[route])
    manager = http_connection_manager(PROMETHEUS_LISTENER)
    manager.route_config.CopyFrom(RouteConfiguration(virtual_hosts=[host]))
    listener.filter_chains.append(FilterChain(filters=[connection_manager_filter(manager)]))
    return to_resource(listener, name=PROMETHEUS_LISTENER)


def new_listener(name: str, *, port: int, ipv6: bool) -> Listener:
    """A listener on all IPv4 addresses, and with `ipv6` on all IPv6 addresses."""
    listener = Listener(name=name, address=socket_address("0.0.0.0", port))
    # Only if there are IPv6 addresses: where the kernel has no IPv6, Envoy would reject the listener.
    if ipv6:
        listener.additional_addresses.append(AdditionalAddress(address=socket_address("::", port)))
    return listener


def http_connection_manager(stat_prefix: str, *, filters: Sequence[HttpFilter] = (ROUTER,)) -> HttpConnectionManager:
    """A connection manager that does not show itself: it leaves the Server and X-Forwarded-For headers unchanged.

    X-Forwarded-Client-Cert has the caller's mTLS name; a value that the caller wrote is removed.
    """
    return HttpConnectionManager(
        stat_prefix=stat_prefix,
        http_filters=filters,
        server_header_transformation=HttpConnectionManager.PASS_THROUGH,
        skip_xff_append=True,
        forward_client_cert_details=HttpConnectionManager.SANITIZE_SET,
        set_current_client_cert_details=HttpConnectionManager.SetCurrentClientCertDetails(dns=True),
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
    )


def connection_manager_filter(manager: HttpConnectionManager) -> Filter:
    """The network filter with this connection manager."""
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=to_any(manager))


def _http_filter(routes: str, *, filters: Sequence[HttpFilter]) -> Filter:
    manager = http_connection_manager(f"mesh-http-conn-manager.{routes}", filters=filters)
    manager.rds.CopyFrom(Rds(route_config_name=routes, config_source=ads_config_source()))
    return connection_manager_filter(manager)


def _tcp_proxy_filter(stat_prefix: str, clusters: Sequence[ClusterWeight]) -> Filter:
    proxy = TcpProxy(stat_prefix=stat_prefix)
    if len(clusters) == 1:
        proxy.cluster = clusters[0].cluster
    else:
        weights = (
            TcpProxy.WeightedCluster.ClusterWeight(name=cluster.cluster, weight=cluster.weight) for cluster in clusters
        )
        proxy.weighted_clusters.CopyFrom(TcpProxy.WeightedCluster(clusters=weights))
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=to_any(proxy))


def _listener_filter(name: str, configuration: Message) -> ListenerFilter:
    return ListenerFilter(name=f"envoy.filters.listener.{name}", typed_config=to_any(configuration))


def _host_range(address: str) -> CidrRange:
    """The range of this one address."""
    return CidrRange(address_prefix=address, prefix_len=UInt32Value(value=128 if ":" in address else 32))
