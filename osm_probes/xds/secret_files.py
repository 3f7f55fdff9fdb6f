"""A proxy's secrets for the ADS -> the files that Envoy reads them from, and reads again when they change."""

import json
from dataclasses import dataclass
from typing import Final

from envoy.config.core.v3.base_pb2 import WatchedDirectory
from envoy.config.core.v3.config_source_pb2 import ApiVersion, ConfigSource, PathConfigSource
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from google.protobuf.json_format import MessageToDict

from osm_probes.xds.secrets import Secrets, certificate, only
from osm_probes.xds.wire import to_any

CERTIFICATE_FILE: Final = "ads-certificate.json"
ROOTS_FILE: Final = "ads-roots.json"


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Where Envoy finds both files; it looks at them again when something in `folder` is moved, as kubelets do."""

    folder: str

    def put_into(self, context: CommonTlsContext) -> None:
        """Have a TLS context take its certificate and its roots from there."""
        context.tls_certificate_sds_secret_configs.append(self._config(CERTIFICATE_FILE))
        context.validation_context_sds_secret_config.CopyFrom(self._config(ROOTS_FILE))

    def _config(self, file: str) -> SdsSecretConfig:
        watched = WatchedDirectory(path=self.folder)
        source = PathConfigSource(path=f"{self.folder}/{file}", watched_directory=watched)
        return SdsSecretConfig(
            name=file, sds_config=ConfigSource(path_config_source=source, resource_api_version=ApiVersion.V3)
        )


def secret_files(secrets: Secrets, *, server_name: str) -> dict[str, bytes]:
    """What is in the files, by their names: a private key is among it. server_name: of the ADS's certificate."""
    roots = only([server_name], roots_pem=secrets.roots_pem)
    return {
        CERTIFICATE_FILE: _response(Secret(name=CERTIFICATE_FILE, tls_certificate=certificate(secrets))),
        ROOTS_FILE: _response(Secret(name=ROOTS_FILE, validation_context=roots)),
    }


def _response(secret: Secret) -> bytes:
    message = DiscoveryResponse(resources=[to_any(secret)])
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True), separators=(",", ":")).encode()
