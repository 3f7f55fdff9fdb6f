"""mTLS between sidecars: transport sockets whose certificates come by SDS over the ADS stream."""

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
from osm_probes.xds.protobuf import to_any
from osm_probes.xds.resource_names import certificate_secret_name, outbound_validation_name, server_name

TLS_NAME: Final = "envoy.transport_sockets.tls"


def upstream_tls_context(destination: Destination) -> UpstreamTlsContext:
    """The client side: a call of the destination, except for the caller's certificate."""
    common = CommonTlsContext(
        tls_params=tls_1_3_only(),
        validation_context_sds_secret_config=_secret_config(outbound_validation_name(destination)),
    )
    return UpstreamTlsContext(common_tls_context=common, sni=server_name(destination))


def caller_certificate(identity: Identity) -> UpstreamTlsContext:
    """The certificate of a caller, and nothing else."""
    certificates = [_secret_config(certificate_secret_name(identity))]
    return UpstreamTlsContext(common_tls_context=CommonTlsContext(tls_certificate_sds_secret_configs=certificates))


def downstream_tls_socket(identity: Identity, *, validation: str) -> TransportSocket:
    """The server side: `identity` accepts callers whose certificates the secret `validation` verifies.

    There is no ALPN: a caller's sidecar that offers one protocol gets 502 from a context that has another.
    """
    common = _common(certificate_secret_name(identity), validation=validation)
    return tls_socket(DownstreamTlsContext(common_tls_context=common, require_client_certificate=BoolValue(value=True)))


def tls_socket(context: Message) -> TransportSocket:
    """The transport socket with this TLS context."""
    return TransportSocket(name=TLS_NAME, typed_config=to_any(context))


def tls_1_3_only() -> TlsParameters:
    """TLS 1.3 and no other version: both ends belong to the mesh."""
    version = TlsParameters.TLSv1_3
    return TlsParameters(tls_minimum_protocol_version=version, tls_maximum_protocol_version=version)


def ads_config_source() -> ConfigSource:
    """The source of configuration that comes over the ADS stream."""
    return ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def _common(certificate: str, *, validation: str) -> CommonTlsContext:
    return CommonTlsContext(
        tls_params=tls_1_3_only(),
        tls_certificate_sds_secret_configs=[_secret_config(certificate)],
        validation_context_sds_secret_config=_secret_config(validation),
    )


def _secret_config(name: str) -> SdsSecretConfig:
    return SdsSecretConfig(name=name, sds_config=ads_config_source())
