"""Proxy + address of the ADS -> bootstrap: the configuration that a sidecar's Envoy starts with."""

import enum
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from envoy.config.bootstrap.v3.bootstrap_pb2 import Admin, Bootstrap, LayeredRuntime, RuntimeLayer
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from envoy.config.core.v3.base_pb2 import Node, RetryPolicy, TransportSocket
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions, KeepaliveSettings
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.json_format import MessageToDict

from osm_probes.mesh.identity import ProxyName
from osm_probes.mesh.mesh import Endpoint
from osm_probes.xds.app_probe_listeners import app_probe_clusters, app_probe_listeners
from osm_probes.xds.app_probes import RewrittenProbe
from osm_probes.xds.clusters import ADMIN_ENDPOINT, HTTP_OPTIONS, static_cluster
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.protobuf import to_any, to_duration
from osm_probes.xds.resource_names import ADS_CLUSTER
from osm_probes.xds.sds_files import SdsFiles
from osm_probes.xds.secrets import Secrets, tls_certificate, validation_context
from osm_probes.xds.transport_sockets import ads_config_source, tls_1_3_only, tls_socket

_CONNECT_TIMEOUT: Final = 5.0
# The gRPC server must permit HTTP/2 pings at this interval, or it closes the connection ("too many pings").
_KEEPALIVE_INTERVAL: Final = 30.0
_KEEPALIVE_TIMEOUT: Final = 10.0
# Exponential backoff with full jitter, so that proxies do not reconnect all at once.
_RECONNECT_BASE_INTERVAL: Final = 0.5
_RECONNECT_MAX_INTERVAL: Final = 15.0
# Envoy opens no listener before its first configuration or this timeout, once for clusters and once for listeners. With
# Envoy's default of 15 s an unreachable ADS would fail the application's liveness probe for half a minute.
# Configuration that arrives later is applied as usual.
_INITIAL_FETCH_TIMEOUT: Final = 2.0
# Envoy's default of 100 instructions is less than many path expressions need, and one larger expression would make
# Envoy reject all routes of its port. RE2 matches in linear time, however large the expression; manifests may have
# expressions of a tenth of this.
_MAX_RE2_PROGRAM_SIZE: Final = 100_000


class AdsMode(enum.Enum):
    """The variant of the xDS protocol: state of the world or incremental (delta)."""

    STATE_OF_THE_WORLD = "GRPC"
    INCREMENTAL = "DELTA_GRPC"


@dataclass(frozen=True, slots=True)
class AdsTarget:
    """The address of the ADS: a DNS name or an IP address. server_name: the DNS name that its certificate must have."""

    host: str
    port: int
    server_name: str
    mode: AdsMode = AdsMode.INCREMENTAL


def build_bootstrap(
    proxy: ProxyName,
    *,
    trust_domain: str,
    ads: AdsTarget,
    secrets: Secrets | SdsFiles,
    app_probes: Sequence[RewrittenProbe] = (),
    ipv6: bool = False,
) -> bytes:
    """The bootstrap of a proxy as JSON.

    secrets: the TLS material for the connection to the ADS. It is written into the bootstrap, private key included,
    unless it is in files. app_probes: the pod's rewritten probes; Envoy answers them without the ADS, at the latest 4 s
    after its start. ipv6: it answers them on IPv6 addresses too, and the application may listen only on IPv6.
    """
    message = Bootstrap(
        node=Node(id=proxy.common_name(trust_domain), cluster=str(proxy.identity)),
        admin=Admin(address=socket_address(ADMIN_ENDPOINT.address, ADMIN_ENDPOINT.port)),
    )
    message.dynamic_resources.ads_config.CopyFrom(_ads_config(ads.mode))
    for source in (message.dynamic_resources.cds_config, message.dynamic_resources.lds_config):
        source.CopyFrom(ads_config_source())
        source.initial_fetch_timeout.CopyFrom(to_duration(_INITIAL_FETCH_TIMEOUT))
    message.static_resources.clusters.extend([_ads_cluster(ads, secrets), *app_probe_clusters(app_probes, ipv6=ipv6)])
    message.static_resources.listeners.extend(app_probe_listeners(app_probes, ipv6=ipv6))
    message.layered_runtime.CopyFrom(_runtime())
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True), separators=(",", ":")).encode()


def _runtime() -> LayeredRuntime:
    layer = RuntimeLayer(name="osm")
    layer.static_layer["re2.max_program_size.error_level"] = _MAX_RE2_PROGRAM_SIZE
    return LayeredRuntime(layers=[layer])


def _ads_config(mode: AdsMode) -> ApiConfigSource:
    backoff = BackoffStrategy(
        base_interval=to_duration(_RECONNECT_BASE_INTERVAL), max_interval=to_duration(_RECONNECT_MAX_INTERVAL)
    )
    envoy = GrpcService.EnvoyGrpc(cluster_name=ADS_CLUSTER, retry_policy=RetryPolicy(retry_back_off=backoff))
    return ApiConfigSource(
        api_type=ApiConfigSource.ApiType.Value(mode.value),
        transport_api_version=ApiVersion.V3,
        grpc_services=[GrpcService(envoy_grpc=envoy)],
        set_node_on_first_message_only=True,
    )


def _ads_cluster(ads: AdsTarget, secrets: Secrets | SdsFiles) -> Cluster:
    cluster = static_cluster(ADS_CLUSTER, Endpoint(ads.host, ads.port))
    cluster.connect_timeout.CopyFrom(to_duration(_CONNECT_TIMEOUT))
    cluster.transport_socket.CopyFrom(_ads_socket(ads, secrets))
    if not _is_ip_address(ads.host):
        cluster.type = Cluster.STRICT_DNS
    keepalive = KeepaliveSettings(interval=to_duration(_KEEPALIVE_INTERVAL), timeout=to_duration(_KEEPALIVE_TIMEOUT))
    http2 = HttpProtocolOptions.ExplicitHttpConfig(
        http2_protocol_options=Http2ProtocolOptions(connection_keepalive=keepalive)
    )
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(
        to_any(HttpProtocolOptions(explicit_http_config=http2))
    )
    return cluster


def _ads_socket(ads: AdsTarget, secrets: Secrets | SdsFiles) -> TransportSocket:
    common = CommonTlsContext(tls_params=tls_1_3_only(), alpn_protocols=["h2"])
    if isinstance(secrets, SdsFiles):
        secrets.configure(common)
    else:
        common.tls_certificates.append(tls_certificate(secrets))
        common.validation_context.CopyFrom(validation_context([ads.server_name], roots_pem=secrets.roots_pem))
    return tls_socket(UpstreamTlsContext(common_tls_context=common, sni=ads.server_name))


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
