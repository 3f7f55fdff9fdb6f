"""Proxy + address of the ADS -> bootstrap: what a sidecar's Envoy starts with."""

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
from osm_probes.xds.app_probe_listeners import probe_clusters, probe_listeners
from osm_probes.xds.app_probes import RewrittenProbe
from osm_probes.xds.clusters import ADMIN, HTTP_OPTIONS, static_cluster
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.names import ADS_CLUSTER
from osm_probes.xds.secret_files import SecretFiles
from osm_probes.xds.secrets import Secrets, certificate, only
from osm_probes.xds.transport import over_ads, tls_1_3, tls_socket
from osm_probes.xds.wire import seconds, to_any

_CONNECT_TIMEOUT: Final = 5.0
# A pair for grpc servers: the ADS must allow pings this often, or it ends the stream for them.
PING_EVERY: Final = 30.0
_PING_TIMEOUT: Final = 10.0
# Envoy waits for a random time up to the interval, which doubles: proxies do not come back all at once.
_RECONNECT_FIRST: Final = 0.5
_RECONNECT_MOST: Final = 15.0
# Envoy opens no listener before its first configuration, or this time for clusters and again for listeners: with its
# 15 s an ADS that is away would fail the application's liveness for half a minute. What comes later is taken as well.
_FIRST_CONFIGURATION: Final = 2.0
# Envoy's own 100 is less than many a path needs, and one larger expression would cost all routes of its port. RE2 takes
# time in proportion to the text, however large the expression; what manifests may have needs a tenth of this.
_LARGEST_EXPRESSION: Final = 100_000


class AdsMode(enum.Enum):
    """Which variant of xDS the proxy speaks."""

    STATE_OF_THE_WORLD = "GRPC"
    INCREMENTAL = "DELTA_GRPC"


@dataclass(frozen=True, slots=True)
class AdsTarget:
    """Where the ADS is, a DNS name or an IP address, and the name that its certificate must hold."""

    host: str
    port: int
    server_name: str
    mode: AdsMode = AdsMode.INCREMENTAL


def bootstrap(
    proxy: ProxyName,
    *,
    trust_domain: str,
    ads: AdsTarget,
    secrets: Secrets | SecretFiles,
    probes: Sequence[RewrittenProbe] = (),
    probe_address: str = "0.0.0.0",
) -> bytes:
    """The bootstrap of a proxy as JSON. `secrets` are for the ADS alone: in it, the private key too, or in files.

    probes: the pod's rewritten probes; Envoy answers them without the ADS, from 4 s after its start on.
    probe_address: where they are asked; "::" where pods have IPv6.
    """
    message = Bootstrap(
        node=Node(id=proxy.common_name(trust_domain), cluster=str(proxy.identity)),
        admin=Admin(address=socket_address(ADMIN.address, ADMIN.port)),
    )
    message.dynamic_resources.ads_config.CopyFrom(_ads_config(ads.mode))
    for source in (message.dynamic_resources.cds_config, message.dynamic_resources.lds_config):
        source.CopyFrom(over_ads())
        source.initial_fetch_timeout.CopyFrom(seconds(_FIRST_CONFIGURATION))
    message.static_resources.clusters.extend([_ads_cluster(ads, secrets), *probe_clusters(probes)])
    message.static_resources.listeners.extend(probe_listeners(probes, address=probe_address))
    message.layered_runtime.CopyFrom(_runtime())
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True), separators=(",", ":")).encode()


def _runtime() -> LayeredRuntime:
    layer = RuntimeLayer(name="osm")
    layer.static_layer["re2.max_program_size.error_level"] = _LARGEST_EXPRESSION
    return LayeredRuntime(layers=[layer])


def _ads_config(mode: AdsMode) -> ApiConfigSource:
    back_off = BackoffStrategy(base_interval=seconds(_RECONNECT_FIRST), max_interval=seconds(_RECONNECT_MOST))
    envoy = GrpcService.EnvoyGrpc(cluster_name=ADS_CLUSTER, retry_policy=RetryPolicy(retry_back_off=back_off))
    return ApiConfigSource(
        api_type=ApiConfigSource.ApiType.Value(mode.value),
        transport_api_version=ApiVersion.V3,
        grpc_services=[GrpcService(envoy_grpc=envoy)],
        set_node_on_first_message_only=True,
    )


def _ads_cluster(ads: AdsTarget, secrets: Secrets | SecretFiles) -> Cluster:
    at = Endpoint(ads.host, ads.port)
    cluster = static_cluster(ADS_CLUSTER, at=at)
    cluster.connect_timeout.CopyFrom(seconds(_CONNECT_TIMEOUT))
    cluster.transport_socket.CopyFrom(_ads_socket(ads, secrets))
    if not _is_address(ads.host):
        cluster.type = Cluster.STRICT_DNS
    keepalive = KeepaliveSettings(interval=seconds(PING_EVERY), timeout=seconds(_PING_TIMEOUT))
    http2 = HttpProtocolOptions.ExplicitHttpConfig(
        http2_protocol_options=Http2ProtocolOptions(connection_keepalive=keepalive)
    )
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(
        to_any(HttpProtocolOptions(explicit_http_config=http2))
    )
    return cluster


def _ads_socket(ads: AdsTarget, secrets: Secrets | SecretFiles) -> TransportSocket:
    common = CommonTlsContext(tls_params=tls_1_3(), alpn_protocols=["h2"])
    if isinstance(secrets, SecretFiles):
        secrets.put_into(common)
    else:
        common.tls_certificates.append(certificate(secrets))
        common.validation_context.CopyFrom(only([ads.server_name], roots_pem=secrets.roots_pem))
    return tls_socket(UpstreamTlsContext(common_tls_context=common, sni=ads.server_name))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
