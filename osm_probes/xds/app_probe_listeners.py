"""Rewritten application probes -> static listeners and clusters: the sidecar forwards the kubelet's probes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import HealthCheck
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.health_check.v3.health_check_pb2 import HealthCheck as HealthCheckFilter
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import (
    HttpProtocolOptions as UpstreamHttpProtocolOptions,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from osm_probes.mesh.mesh import Endpoint
from osm_probes.xds.app_probes import ProbeScheme, RewrittenProbe
from osm_probes.xds.clusters import HTTP_OPTIONS, application_cluster, loopback_addresses, static_cluster
from osm_probes.xds.listeners import connection_manager_filter, http_connection_manager, new_listener
from osm_probes.xds.protobuf import to_any, to_duration
from osm_probes.xds.transport_sockets import tls_socket

_GRPC_CHECK_PATH: Final = "/grpc.health.v1.Health/Check"
_TCP_CHECK_INTERVAL: Final = 1.0
_ROUTER: Final = HttpFilter(name="envoy.filters.http.router", typed_config=to_any(Router(suppress_envoy_headers=True)))


def app_probe_clusters(probes: Iterable[RewrittenProbe], *, ipv6: bool) -> list[Cluster]:
    """One cluster for each probed port of the applications."""
    probed_ports = {(probe.scheme, probe.port) for probe in probes}
    return [_cluster(scheme, port, ipv6=ipv6) for scheme, port in sorted(probed_ports, key=_sort_key)]


def app_probe_listeners(probes: Sequence[RewrittenProbe], *, ipv6: bool) -> list[Listener]:
    """One listener for each port that the kubelet sends probes to."""
    ports = sorted({probe.sidecar_port for probe in probes})
    return [_listener(port, [probe for probe in probes if probe.sidecar_port == port], ipv6=ipv6) for port in ports]


def _sort_key(probed_port: tuple[ProbeScheme, int]) -> tuple[str, int]:
    return probed_port[0].value, probed_port[1]


def _cluster_name(scheme: ProbeScheme, port: int) -> str:
    return f"probe-{scheme.value}-{port}"


def _cluster(scheme: ProbeScheme, port: int, *, ipv6: bool) -> Cluster:
    name = _cluster_name(scheme, port)
    if scheme is ProbeScheme.TCP:
        # Health checks do not try an endpoint's alternatives (Envoy 1.40), so each address is an endpoint.
        cluster = static_cluster(name, *(Endpoint(address, port) for address in loopback_addresses(ipv6=ipv6)))
        cluster.health_checks.append(_tcp_health_check())
        return cluster
    cluster = application_cluster(name, port=port, ipv6=ipv6)
    if scheme is ProbeScheme.HTTPS:
        # The certificate is not verified, as by the kubelet.
        cluster.transport_socket.CopyFrom(tls_socket(UpstreamTlsContext()))
    explicit = UpstreamHttpProtocolOptions.ExplicitHttpConfig()
    if scheme is ProbeScheme.GRPC:
        explicit.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    else:
        explicit.http_protocol_options.CopyFrom(Http1ProtocolOptions())
    options = UpstreamHttpProtocolOptions(
        explicit_http_config=explicit,
        # A new connection for each probe, as the kubelet does: an old one would not prove that the application accepts
        # new connections.
        common_http_protocol_options=HttpProtocolOptions(max_requests_per_connection=UInt32Value(value=1)),
    )
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(to_any(options))
    return cluster


def _tcp_health_check() -> HealthCheck:
    interval = to_duration(_TCP_CHECK_INTERVAL)
    once = UInt32Value(value=1)
    return HealthCheck(
        timeout=interval,
        interval=interval,
        # The cluster gets no requests, and Envoy checks such clusters once a minute by default.
        no_traffic_interval=interval,
        unhealthy_threshold=once,
        healthy_threshold=once,
        tcp_health_check=HealthCheck.TcpHealthCheck(),
    )


def _listener(port: int, probes: list[RewrittenProbe], *, ipv6: bool) -> Listener:
    name = f"probes-{port}"
    tcp_ports = {probe.sidecar_path: probe.port for probe in probes if probe.scheme is ProbeScheme.TCP}
    health_filters = [_health_filter(path, port=tcp_port, ipv6=ipv6) for path, tcp_port in sorted(tcp_ports.items())]
    manager = http_connection_manager(name, filters=[*health_filters, _ROUTER])
    manager.generate_request_id.CopyFrom(BoolValue(value=False))
    host = VirtualHost(name=name, domains=["*"], routes=list(_routes(probes)))
    manager.route_config.CopyFrom(RouteConfiguration(virtual_hosts=[host]))
    listener = new_listener(name, port=port, ipv6=ipv6)
    listener.filter_chains.append(FilterChain(filters=[connection_manager_filter(manager)]))
    return listener


def _routes(probes: list[RewrittenProbe]) -> Iterator[Route]:
    seen = set()
    for probe in probes:
        path = _GRPC_CHECK_PATH if probe.scheme is ProbeScheme.GRPC else probe.sidecar_path
        if probe.scheme is ProbeScheme.TCP or path in seen:
            continue
        seen.add(path)
        # No timeout here: the kubelet has its own for each probe, and closes the connection after it.
        action = RouteAction(cluster=_cluster_name(probe.scheme, probe.port), timeout=to_duration(0))
        if probe.scheme is not ProbeScheme.GRPC:
            action.prefix_rewrite = probe.original_path
        # Only this exact path: the rest of the application stays behind mTLS.
        yield Route(match=RouteMatch(path=path), route=action)


def _health_filter(path: str, *, port: int, ipv6: bool) -> HttpFilter:
    """Answers 200 while the port accepts connections on one of the addresses, else 503."""
    cluster = _cluster_name(ProbeScheme.TCP, port)
    one_endpoint = Percent(value=100 / len(loopback_addresses(ipv6=ipv6)))
    health_check = HealthCheckFilter(
        pass_through_mode=BoolValue(value=False),
        cluster_min_healthy_percentages={cluster: one_endpoint},
        headers=[HeaderMatcher(name=":path", string_match=StringMatcher(exact=path))],
    )
    return HttpFilter(name="envoy.filters.http.health_check", typed_config=to_any(health_check))
