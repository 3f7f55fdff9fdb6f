"""Destinations -> clusters (CDS): the services that a sidecar may call, and the application behind it."""

from dataclasses import dataclass
from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import UInt32Value

from osm_probes.foundation.protobuf_fields import field
from osm_probes.mesh.mesh import Endpoint, Protocol
from osm_probes.mesh.ports import ADMIN_PORT
from osm_probes.snapshot.snapshot import CLUSTER, TYPE_PREFIX, Resource
from osm_probes.xds.destination import Destination
from osm_probes.xds.endpoints import load_assignment
from osm_probes.xds.protobuf import to_any, to_bytes, to_duration, to_resource
from osm_probes.xds.resource_names import METRICS_CLUSTER, PASSTHROUGH_CLUSTER, cluster_name, local_cluster_name
from osm_probes.xds.transport_sockets import TLS_NAME, ads_config_source, upstream_tls_context

CONNECT_TIMEOUT: Final = 1.0
HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TRANSPORT_SOCKET: Final = Cluster.TRANSPORT_SOCKET_FIELD_NUMBER
_TLS_NAME: Final = TLS_NAME.encode()
_CONTEXT_TYPE: Final = f"{TYPE_PREFIX}{UpstreamTlsContext.DESCRIPTOR.full_name}".encode()
ADMIN_ENDPOINT: Final = Endpoint("127.0.0.1", ADMIN_PORT)


@dataclass(frozen=True, slots=True)
class UpstreamTemplate:
    """The mTLS cluster of a destination without what depends on the caller.

    cluster: a serialised Cluster without its transport socket. context: a serialised UpstreamTlsContext without the
    caller's certificate.
    """

    name: str
    cluster: bytes
    context: bytes


def upstream_template(destination: Destination) -> UpstreamTemplate:
    """The template of a destination; a headless one keeps the original address."""
    cluster = _cluster(cluster_name(destination))
    if destination.headless:
        _keep_original_destination(cluster)
    else:
        cluster.type = Cluster.EDS
        cluster.eds_cluster_config.CopyFrom(Cluster.EdsClusterConfig(eds_config=ads_config_source()))
    _set_protocol(cluster, destination.protocol)
    return UpstreamTemplate(cluster.name, to_bytes(cluster), to_bytes(upstream_tls_context(destination)))


def upstream_cluster(template: UpstreamTemplate, *, certificate: bytes) -> Resource:
    """The cluster of traffic from one identity to a destination.

    certificate: its serialised `caller_certificate`. It is put together from serialised parts, because there is one for
    each pair of an identity and a destination: this takes a tenth of the time.
    """
    context = field(1, _CONTEXT_TYPE) + field(2, template.context + certificate)
    socket = field(1, _TLS_NAME) + field(3, context)
    return Resource.of(template.name, CLUSTER, template.cluster + field(_TRANSPORT_SOCKET, socket))


def local_cluster(destination: Destination, *, target: int, ipv6: bool) -> Resource:
    """The application behind the sidecar."""
    cluster = application_cluster(local_cluster_name(destination, target=target), port=target, ipv6=ipv6)
    return _resource(cluster, protocol=destination.protocol)


def passthrough_cluster() -> Resource:
    """Traffic out of the mesh, forwarded unchanged to its original address."""
    cluster = _cluster(PASSTHROUGH_CLUSTER)
    _keep_original_destination(cluster)
    return _resource(cluster, protocol=Protocol.TCP)


def metrics_cluster() -> Resource:
    """The sidecar's own admin port, which serves its statistics."""
    return _resource(static_cluster(METRICS_CLUSTER, ADMIN_ENDPOINT), protocol=Protocol.TCP)


def application_cluster(name: str, *, port: int, ipv6: bool) -> Cluster:
    """A port of the application in the same pod, at the first loopback address where it accepts connections."""
    first, *others = loopback_addresses(ipv6=ipv6)
    return static_cluster(name, Endpoint(first, port, tuple(others)))


def loopback_addresses(*, ipv6: bool) -> tuple[str, ...]:
    """Where the application in the same pod may listen. With `ipv6` it may listen on IPv6 only."""
    return ("127.0.0.1", "::1") if ipv6 else ("127.0.0.1",)


def static_cluster(name: str, *endpoints: Endpoint) -> Cluster:
    """A cluster with these fixed addresses."""
    cluster = _cluster(name)
    cluster.type = Cluster.STATIC
    cluster.load_assignment.CopyFrom(load_assignment(name, endpoints=endpoints))
    return cluster


def _cluster(name: str) -> Cluster:
    return Cluster(
        name=name, connect_timeout=to_duration(CONNECT_TIMEOUT), circuit_breakers=_unlimited_circuit_breakers()
    )


def _keep_original_destination(cluster: Cluster) -> None:
    cluster.type = Cluster.ORIGINAL_DST
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED


def _resource(cluster: Cluster, *, protocol: Protocol) -> Resource:
    _set_protocol(cluster, protocol)
    return to_resource(cluster, name=cluster.name)


def _set_protocol(cluster: Cluster, protocol: Protocol) -> None:
    if protocol is Protocol.HTTP:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(_downstream_protocol())


def _downstream_protocol() -> Any:
    """Forward HTTP/2 as HTTP/2 and HTTP/1.1 as HTTP/1.1: a sidecar must not change the application's protocol."""
    options = HttpProtocolOptions.UseDownstreamHttpConfig(
        http_protocol_options=Http1ProtocolOptions(), http2_protocol_options=Http2ProtocolOptions()
    )
    return to_any(HttpProtocolOptions(use_downstream_protocol_config=options))


def _unlimited_circuit_breakers() -> CircuitBreakers:
    """Envoy's default limit of 1,024 requests would answer 503 although no policy asks for it."""
    unlimited = UInt32Value(value=2**32 - 1)
    threshold = CircuitBreakers.Thresholds(
        max_connections=unlimited, max_pending_requests=unlimited, max_requests=unlimited, max_retries=unlimited
    )
    return CircuitBreakers(thresholds=[threshold])
