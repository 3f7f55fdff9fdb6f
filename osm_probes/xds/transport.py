"""TLS between sidecars: both sides show certificates, which come by SDS over the ADS stream."""

from typing import Final

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsParameters
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue

from osm_probes.mesh.identity import Identity
from osm_probes.xds.destination import Destination
from osm_probes.xds.names import certificate_name, outbound_roots_name, server_name
from osm_probes.xds.wire import to_any

_TLS_NAME: Final = "envoy.transport_sockets.tls"


def over_ads() -> ConfigSource:
    """Configuration that comes over the one ADS stream."""
    return ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def tls_1_3() -> TlsParameters:
    """TLS 1.3 and nothing else: both ends are this mesh's."""
    version = TlsParameters.TLSv1_3
    return TlsParameters(tls_minimum_protocol_version=version, tls_maximum_protocol_version=version)


def caller_socket(to: Destination, *, identity: Identity) -> TransportSocket:
    """How `identity` calls `to`."""
    common = _common(certificate_name(identity), roots=outbound_roots_name(to))
    return tls_socket(UpstreamTlsContext(common_tls_context=common, sni=server_name(to)))


def callee_socket(identity: Identity, *, callers: str) -> TransportSocket:
    """How `identity` is called, by those whom the secret of this name trusts.

    No ALPN: a caller's sidecar that names one gets 502 from a context that has another.
    """
    common = _common(certificate_name(identity), roots=callers)
    return tls_socket(DownstreamTlsContext(common_tls_context=common, require_client_certificate=BoolValue(value=True)))


def tls_socket(context: Message) -> TransportSocket:
    """A TLS context in its transport socket."""
    return TransportSocket(name=_TLS_NAME, typed_config=to_any(context))


def _common(certificate: str, *, roots: str) -> CommonTlsContext:
    return CommonTlsContext(
        tls_params=tls_1_3(),
        tls_certificate_sds_secret_configs=[SdsSecretConfig(name=certificate, sds_config=over_ads())],
        validation_context_sds_secret_config=SdsSecretConfig(name=roots, sds_config=over_ads()),
    )
