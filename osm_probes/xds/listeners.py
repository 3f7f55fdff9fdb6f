"""Destinations -> listeners: what a sidecar takes from its application and from other sidecars."""

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
from osm_probes.mesh.ports import INBOUND_PORT, OUTBOUND_PORT, PROXY_METRICS_PORT
from osm_probes.snapshot.snapshot import LISTENER, Resource
from osm_probes.xds.destination import Destination, Share, whole
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.names import (
    INBOUND_LISTENER,
    METRICS_CLUSTER,
    OUTBOUND_LISTENER,
    PASSTHROUGH_CLUSTER,
    PROMETHEUS_LISTENER,
    callers_name,
    cluster_name,
    inbound_roots_name,
    inbound_routes_name,
    local_name,
    outbound_routes_name,
    server_name,
)
from osm_probes.xds.rbac import RBAC_FILTER
from osm_probes.xds.transport import callee_socket, over_ads
from osm_probes.xds.wire import to_any, to_bytes, to_resource

STATISTICS_PATH: Final = "/stats/prometheus"
ROUTER: Final = HttpFilter(name="envoy.filters.http.router", typed_config=to_any(Router()))


def outbound_chains(to: Destination, *, shares: tuple[Share, ...]) -> bytes:
    """Calls to this destination, as a part of the outbound listener; empty if there is nothing to dial.

    TCP connections are shared out among these clusters; for requests that is said by their routes.
    """
    cluster = cluster_name(to)
    if to.protocol is Protocol.TCP:
        filters = [_tcp(cluster, shares)]
    else:
        filters = [_http(outbound_routes_name(to), filters=(ROUTER,))]
    chains = []
    # A headless service's pods may differ in their port.
    for port in sorted({each.port for each in to.dialled}):
        match = FilterChainMatch(
            prefix_ranges=[_exactly(each.address) for each in to.dialled if each.port == port],
            destination_port=UInt32Value(value=port),
        )
        chains.append(FilterChain(name=f"{cluster} at {port}", filter_chain_match=match, filters=filters))
    return to_bytes(Listener(filter_chains=chains))


def inbound_chain(to: Destination, *, target: int, identity: Identity) -> bytes:
    """Calls that come for this destination with a certificate of the mesh, as a part of the inbound listener.

    Who may call is not said here: a changed listener drains its connections, secrets and routes change at once.
    """
    if to.protocol is Protocol.TCP:
        callers = callers_name(to, target=target)
        filters = [_tcp(local_name(to, target=target), whole(local_name(to, target=target)))]
    else:
        callers = inbound_roots_name(identity)
        filters = [_http(inbound_routes_name(to, target=target), filters=(RBAC_FILTER, ROUTER))]
    chain = FilterChain(
        name=local_name(to, target=target),
        filter_chain_match=FilterChainMatch(
            destination_port=UInt32Value(value=target), transport_protocol="tls", server_names=[server_name(to)]
        ),
        transport_socket=callee_socket(identity, callers=callers),
        filters=filters,
    )
    return to_bytes(Listener(filter_chains=[chain]))


def passthrough_chain() -> bytes:
    """Calls to nobody in the mesh, let through: egress."""
    chain = FilterChain(name=PASSTHROUGH_CLUSTER, filters=[_tcp(PASSTHROUGH_CLUSTER, whole(PASSTHROUGH_CLUSTER))])
    return to_bytes(Listener(default_filter_chain=chain))


def outbound_listener(chains: Iterable[bytes], *, ipv6: bool) -> Resource:
    """What the application calls. Envoy closes at once what no chain is for."""
    listener = _listener(OUTBOUND_LISTENER, port=OUTBOUND_PORT, ipv6=ipv6)
    listener.listener_filters.extend([_inspector("original_dst", OriginalDst())])
    return Resource.of(OUTBOUND_LISTENER, LISTENER, b"".join([to_bytes(listener), *chains]))


def inbound_listener(chains: Iterable[bytes], *, ipv6: bool) -> Resource:
    """What calls the application."""
    listener = _listener(INBOUND_LISTENER, port=INBOUND_PORT, ipv6=ipv6)
    listener.listener_filters.extend(
        [_inspector("original_dst", OriginalDst()), _inspector("tls_inspector", TlsInspector())]
    )
    return Resource.of(INBOUND_LISTENER, LISTENER, b"".join([to_bytes(listener), *chains]))


def prometheus_listener(*, ipv6: bool) -> Resource:
    """The sidecar's statistics, and nothing else of its admin port."""
    listener = _listener(PROMETHEUS_LISTENER, port=PROXY_METRICS_PORT, ipv6=ipv6)
    route = Route(match=RouteMatch(path=STATISTICS_PATH), route=RouteAction(cluster=METRICS_CLUSTER))
    host = VirtualHost(name=PROMETHEUS_LISTENER, domains=["*"], routes=[route])
    manager = http_manager(PROMETHEUS_LISTENER)
    manager.route_config.CopyFrom(RouteConfiguration(virtual_hosts=[host]))
    listener.filter_chains.append(FilterChain(filters=[network_filter(manager)]))
    return to_resource(listener, name=PROMETHEUS_LISTENER)


def http_manager(stat_prefix: str, *, filters: Sequence[HttpFilter] = (ROUTER,)) -> HttpConnectionManager:
    """HTTP as it comes: a sidecar is no hop, so neither the Server header nor X-Forwarded-For is its own.

    Who calls over mTLS is in X-Forwarded-Client-Cert; what a caller writes there itself is taken out.
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


def network_filter(manager: HttpConnectionManager) -> Filter:
    """The connection manager in its filter."""
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=to_any(manager))


def _http(routes: str, *, filters: Sequence[HttpFilter]) -> Filter:
    manager = http_manager(f"mesh-http-conn-manager.{routes}", filters=filters)
    manager.rds.CopyFrom(Rds(route_config_name=routes, config_source=over_ads()))
    return network_filter(manager)


def _tcp(stat_prefix: str, shares: Sequence[Share]) -> Filter:
    proxy = TcpProxy(stat_prefix=stat_prefix)
    if len(shares) == 1:
        proxy.cluster = shares[0].cluster
    else:
        parts = (TcpProxy.WeightedCluster.ClusterWeight(name=each.cluster, weight=each.weight) for each in shares)
        proxy.weighted_clusters.CopyFrom(TcpProxy.WeightedCluster(clusters=parts))
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=to_any(proxy))


def _listener(name: str, *, port: int, ipv6: bool) -> Listener:
    listener = Listener(name=name, address=socket_address("0.0.0.0", port))
    # Only where the mesh has IPv6: on a machine without it the listener would be refused.
    if ipv6:
        listener.additional_addresses.append(AdditionalAddress(address=socket_address("::", port)))
    return listener


def _inspector(name: str, configuration: Message) -> ListenerFilter:
    return ListenerFilter(name=f"envoy.filters.listener.{name}", typed_config=to_any(configuration))


def _exactly(address: str) -> CidrRange:
    return CidrRange(address_prefix=address, prefix_len=UInt32Value(value=128 if ":" in address else 32))
