"""Destinations -> clusters: what a sidecar may call, and the application behind it."""

from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import UInt32Value

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Endpoint, Protocol
from osm_probes.mesh.ports import ADMIN_PORT
from osm_probes.snapshot.snapshot import Resource
from osm_probes.xds.destination import Destination
from osm_probes.xds.endpoints import assignment
from osm_probes.xds.names import METRICS_CLUSTER, PASSTHROUGH_CLUSTER, cluster_name, local_name
from osm_probes.xds.transport import caller_socket, over_ads
from osm_probes.xds.wire import seconds, to_any, to_resource

CONNECT_TIMEOUT: Final = 1.0
HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ADMIN: Final = Endpoint("127.0.0.1", ADMIN_PORT)


def remote_cluster(to: Destination, *, identity: Identity) -> Resource:
    """Calls of `identity` to a destination, over mTLS; a headless one is called at the very pod that was dialled."""
    cluster = _cluster(cluster_name(to))
    cluster.transport_socket.CopyFrom(caller_socket(to, identity=identity))
    if to.headless:
        _as_dialled(cluster)
    else:
        cluster.type = Cluster.EDS
        cluster.eds_cluster_config.CopyFrom(Cluster.EdsClusterConfig(eds_config=over_ads()))
    return _resource(cluster, protocol=to.protocol)


def local_cluster(to: Destination, *, target: int) -> Resource:
    """The application behind this sidecar."""
    cluster = static_cluster(local_name(to, target=target), at=Endpoint("127.0.0.1", target))
    return _resource(cluster, protocol=to.protocol)


def passthrough_cluster() -> Resource:
    """Calls out of the mesh, as they are."""
    cluster = _cluster(PASSTHROUGH_CLUSTER)
    _as_dialled(cluster)
    return _resource(cluster, protocol=Protocol.TCP)


def metrics_cluster() -> Resource:
    """The sidecar's own admin port, for its statistics."""
    return _resource(static_cluster(METRICS_CLUSTER, at=ADMIN), protocol=Protocol.TCP)


def static_cluster(name: str, *, at: Endpoint) -> Cluster:
    """A cluster of one fixed address."""
    cluster = _cluster(name)
    cluster.type = Cluster.STATIC
    cluster.load_assignment.CopyFrom(assignment(name, endpoints=[at]))
    return cluster


def _cluster(name: str) -> Cluster:
    return Cluster(name=name, connect_timeout=seconds(CONNECT_TIMEOUT), circuit_breakers=_unlimited())


def _as_dialled(cluster: Cluster) -> None:
    cluster.type = Cluster.ORIGINAL_DST
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED


def _resource(cluster: Cluster, *, protocol: Protocol) -> Resource:
    if protocol is Protocol.HTTP:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(_as_the_caller())
    return to_resource(cluster, name=cluster.name)


def _as_the_caller() -> Any:
    """HTTP/2 goes on as HTTP/2, HTTP/1.1 as HTTP/1.1: a sidecar must not change what the application speaks."""
    options = HttpProtocolOptions.UseDownstreamHttpConfig(
        http_protocol_options=Http1ProtocolOptions(), http2_protocol_options=Http2ProtocolOptions()
    )
    return to_any(HttpProtocolOptions(use_downstream_protocol_config=options))


def _unlimited() -> CircuitBreakers:
    """Envoy's own limit of 1,024 requests would be a 503 that nobody asked for; upstream lifts it too."""
    most = UInt32Value(value=2**32 - 1)
    threshold = CircuitBreakers.Thresholds(
        max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most
    )
    return CircuitBreakers(thresholds=[threshold])
