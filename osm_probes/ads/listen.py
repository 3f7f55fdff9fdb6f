"""Address and certificate -> the bound port of a gRPC server, or the actual reason why it cannot be bound."""

import errno
import socket
from dataclasses import dataclass

import grpc
import grpc.aio

from osm_probes.ads.errors import AddressInUseError, CredentialsError, ListenError
from osm_probes.pki.certificate import Certificate


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Where to listen, the server's certificate, and the roots of the client certificates.

    An empty host means all addresses, IPv4 and IPv6. Port 0 means any free port.
    """

    port: int
    certificate: Certificate
    root_pem: bytes
    host: str = ""

    @property
    def bound_host(self) -> str:
        """The literal address. All addresses are IPv4 only if the machine has no IPv6."""
        return self.host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")

    @property
    def address(self) -> str:
        """Host and port in grpc's syntax."""
        host = self.bound_host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def bind(self, server: grpc.aio.Server) -> int:
        """Bind the server's port and return its number. The socket listens from now on, even before `server.start`.

        Raises AddressInUseError, ListenError, CredentialsError.
        """
        # grpc reports every failure with the same text. If another process has the port on some of the addresses of a
        # wildcard, grpc listens on the others without an error.
        self._check_free()
        pair = (self.certificate.key_pem, self.certificate.chain_pem)
        try:
            # Not dynamic_ssl_server_credentials: with them, connections closed without a handshake crash the server.
            tls = grpc.ssl_server_credentials([pair], self.root_pem, require_client_auth=True)
            return server.add_secure_port(self.address, tls)
        except RuntimeError as error:
            self._check_free()
            raise CredentialsError("the certificate, the key or the root of the ADS cannot be used") from error

    def _check_free(self) -> None:
        host = self.bound_host
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((host, self.port))
                trial.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUseError(f"port {self.port} of the ADS is taken ({self.address})") from error
            raise ListenError(f"the ADS cannot listen on {self.address}: {error.strerror or error}") from error
