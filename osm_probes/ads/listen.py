"""A gRPC server's port: bound or refused with the true reason."""

import errno
import socket
from dataclasses import dataclass

import grpc
import grpc.aio

from osm_probes.ads.errors import AddressInUseError, CredentialsError, ListenError
from osm_probes.pki.certificate import Certificate


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Where to listen, what to show there, and the roots that proxies' certificates must be of.

    No host = on all addresses, IPv4 and IPv6. Port 0 = any free one.
    """

    port: int
    certificate: Certificate
    root_pem: bytes
    host: str = ""

    @property
    def bound_host(self) -> str:
        """The literal address: where IPv6 is off, IPv4 alone."""
        return self.host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")

    @property
    def address(self) -> str:
        """Host and port in grpc's form."""
        host = self.bound_host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def bind(server: grpc.aio.Server, listen_config: ListenConfig) -> int:
    """Bind; the port. The socket listens from here on, before the server starts.

    Raises AddressInUseError, ListenError, CredentialsError.
    """
    # grpc has one text for all reasons, and where a wildcard address is taken in part it quietly listens on the rest.
    _probe(listen_config)
    pair = (listen_config.certificate.key_pem, listen_config.certificate.chain_pem)
    try:
        # Not dynamic_ssl_server_credentials: connections closed without a handshake crash a server that has them.
        tls = grpc.ssl_server_credentials([pair], listen_config.root_pem, require_client_auth=True)
        return server.add_secure_port(listen_config.address, tls)
    except RuntimeError as error:
        _probe(listen_config)
        raise CredentialsError("the certificate of the ADS, its key or the root cannot be used") from error


def _probe(listen_config: ListenConfig) -> None:
    host = listen_config.bound_host
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, listen_config.port))
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"port {listen_config.port} of the ADS is taken ({listen_config.address})"
            ) from error
        raise ListenError(f"the ADS cannot listen on {listen_config.address}: {error.strerror or error}") from error
