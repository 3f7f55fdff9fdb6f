"""TLS material for the ADS connection -> the SDS files that Envoy reads, and reads again when they change."""

import json
from dataclasses import dataclass
from typing import Final

from envoy.config.core.v3.base_pb2 import WatchedDirectory
from envoy.config.core.v3.config_source_pb2 import ApiVersion, ConfigSource, PathConfigSource
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from google.protobuf.json_format import MessageToDict

from osm_probes.xds.protobuf import to_any
from osm_probes.xds.secrets import Secrets, tls_certificate, validation_context

CERTIFICATE_FILE: Final = "ads-certificate.json"
ROOTS_FILE: Final = "ads-roots.json"


@dataclass(frozen=True, slots=True)
class SdsFiles:
    """The folder of both files. Envoy reads them again when an entry of the folder is moved, as kubelets do."""

    folder: str

    def configure(self, context: CommonTlsContext) -> None:
        """Make a TLS context take its certificate and its roots from these files."""
        context.tls_certificate_sds_secret_configs.append(self._secret_config(CERTIFICATE_FILE))
        context.validation_context_sds_secret_config.CopyFrom(self._secret_config(ROOTS_FILE))

    def _secret_config(self, file: str) -> SdsSecretConfig:
        watched = WatchedDirectory(path=self.folder)
        source = PathConfigSource(path=f"{self.folder}/{file}", watched_directory=watched)
        return SdsSecretConfig(
            name=file, sds_config=ConfigSource(path_config_source=source, resource_api_version=ApiVersion.V3)
        )


def encode_sds_files(secrets: Secrets, *, server_name: str) -> dict[str, bytes]:
    """The content of the files by name, with the private key. server_name: the DNS name in the ADS certificate."""
    roots = validation_context([server_name], roots_pem=secrets.roots_pem)
    return {
        CERTIFICATE_FILE: _encode(Secret(name=CERTIFICATE_FILE, tls_certificate=tls_certificate(secrets))),
        ROOTS_FILE: _encode(Secret(name=ROOTS_FILE, validation_context=roots)),
    }


def _encode(secret: Secret) -> bytes:
    message = DiscoveryResponse(resources=[to_any(secret)])
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True), separators=(",", ":")).encode()
