"""Rewritten probes -> static listeners and clusters: the sidecar asks the application what the kubelet asked."""

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
from osm_probes.xds.clusters import HTTP_OPTIONS, static_cluster
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.listeners import http_manager, network_filter
from osm_probes.xds.transport import tls_socket
from osm_probes.xds.wire import seconds, to_any

_GRPC_CHECK: Final = "/grpc.health.v1.Health/Check"
_TCP_EVERY: Final = 1.0
_ROUTER: Final = HttpFilter(name="envoy.filters.http.router", typed_config=to_any(Router(suppress_envoy_headers=True)))


def probe_clusters(probes: Iterable[RewrittenProbe]) -> list[Cluster]:
    """The applications' probed ports, each once."""
    return [_cluster(scheme, port) for scheme, port in sorted({(p.scheme, p.port) for p in probes}, key=_by_text)]


def probe_listeners(probes: Sequence[RewrittenProbe], *, address: str) -> list[Listener]:
    """A listener for each port where the kubelet asks, on this address of the pod."""
    ports = sorted({probe.listening_port for probe in probes})
    return [_listener(port, [p for p in probes if p.listening_port == port], address=address) for port in ports]


def _by_text(probed: tuple[ProbeScheme, int]) -> tuple[str, int]:
    return probed[0].value, probed[1]


def _cluster_name(scheme: ProbeScheme, port: int) -> str:
    return f"probe-{scheme.value}-{port}"


def _cluster(scheme: ProbeScheme, port: int) -> Cluster:
    cluster = static_cluster(_cluster_name(scheme, port), at=Endpoint("127.0.0.1", port))
    if scheme is ProbeScheme.TCP:
        cluster.health_checks.append(_connecting())
        return cluster
    if scheme is ProbeScheme.HTTPS:
        # The kubelet does not verify either.
        cluster.transport_socket.CopyFrom(tls_socket(UpstreamTlsContext()))
    explicit = UpstreamHttpProtocolOptions.ExplicitHttpConfig()
    if scheme is ProbeScheme.GRPC:
        explicit.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    else:
        explicit.http_protocol_options.CopyFrom(Http1ProtocolOptions())
    options = UpstreamHttpProtocolOptions(
        explicit_http_config=explicit,
        # A new connection for each probe, as the kubelet has it: an old one would not prove that new ones are taken.
        common_http_protocol_options=HttpProtocolOptions(max_requests_per_connection=UInt32Value(value=1)),
    )
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(to_any(options))
    return cluster


def _connecting() -> HealthCheck:
    every = seconds(_TCP_EVERY)
    once = UInt32Value(value=1)
    return HealthCheck(
        timeout=every,
        interval=every,
        # No request ever goes to this cluster: without this Envoy would look once a minute.
        no_traffic_interval=every,
        unhealthy_threshold=once,
        healthy_threshold=once,
        tcp_health_check=HealthCheck.TcpHealthCheck(),
    )


def _listener(port: int, probes: list[RewrittenProbe], *, address: str) -> Listener:
    name = f"probes-{port}"
    paths = {probe.listening_path: probe.port for probe in probes if probe.scheme is ProbeScheme.TCP}
    answers = [_health_filter(path, port=tcp) for path, tcp in sorted(paths.items())]
    manager = http_manager(name, filters=[*answers, _ROUTER])
    manager.generate_request_id.CopyFrom(BoolValue(value=False))
    host = VirtualHost(name=name, domains=["*"], routes=list(_routes(probes)))
    manager.route_config.CopyFrom(RouteConfiguration(virtual_hosts=[host]))
    chain = FilterChain(filters=[network_filter(manager)])
    return Listener(name=name, address=socket_address(address, port), filter_chains=[chain])


def _routes(probes: list[RewrittenProbe]) -> Iterator[Route]:
    seen = set()
    for probe in probes:
        path = _GRPC_CHECK if probe.scheme is ProbeScheme.GRPC else probe.listening_path
        if probe.scheme is ProbeScheme.TCP or path in seen:
            continue
        seen.add(path)
        # The kubelet has its own limit for each probe, and hangs up after it.
        action = RouteAction(cluster=_cluster_name(probe.scheme, probe.port), timeout=seconds(0))
        if probe.scheme is not ProbeScheme.GRPC:
            action.prefix_rewrite = probe.original_path
        # Only this very path: the rest of the application stays behind mTLS.
        yield Route(match=RouteMatch(path=path), route=action)


def _health_filter(path: str, *, port: int) -> HttpFilter:
    """200 while connections to the port are taken, else 503."""
    cluster = _cluster_name(ProbeScheme.TCP, port)
    answer = HealthCheckFilter(
        pass_through_mode=BoolValue(value=False),
        cluster_min_healthy_percentages={cluster: Percent(value=100)},
        headers=[HeaderMatcher(name=":path", string_match=StringMatcher(exact=path))],
    )
    return HttpFilter(name="envoy.filters.http.health_check", typed_config=to_any(answer))
