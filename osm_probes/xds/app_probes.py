"""The application's probes, as the injector rewrites them. The sidecar's bootstrap serves them."""

import enum
from dataclasses import dataclass
from typing import Final

from osm_probes.mesh.ports import (
    FIRST_GRPC_PROBE_PORT,
    LIVENESS_PROBE_PORT,
    READINESS_PROBE_PORT,
    STARTUP_PROBE_PORT,
    TCP_PROBE_PORT,
)


class ProbeKind(enum.Enum):
    """Which of a container's three probes."""

    LIVENESS = "liveness"
    READINESS = "readiness"
    STARTUP = "startup"


class ProbeScheme(enum.Enum):
    """The protocol of the original probe."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    GRPC = "grpc"


HTTP_PROBE_PORTS: Final = {
    ProbeKind.LIVENESS: LIVENESS_PROBE_PORT,
    ProbeKind.READINESS: READINESS_PROBE_PORT,
    ProbeKind.STARTUP: STARTUP_PROBE_PORT,
}


@dataclass(frozen=True, slots=True)
class RewrittenProbe:
    """One probe of one container: the original port and path, and where the kubelet sends the probe instead.

    HTTP, HTTPS and TCP probes become httpGet (scheme HTTP) of `sidecar_path` on `sidecar_port`; the probe's own headers
    stay in the pod. gRPC probes stay gRPC with their service name, on `sidecar_port`.

    port: the number, already resolved if the probe names a port. path: may have a query; "" is "/". grpc_index: counts
    the pod's different gRPC-probed ports from 0, because a gRPC probe has no path to tell them apart.
    """

    kind: ProbeKind
    container: str
    scheme: ProbeScheme
    port: int
    path: str = "/"
    grpc_index: int = 0

    @property
    def sidecar_port(self) -> int:
        """The sidecar's port for this probe. The redirect must not send it to the inbound listener."""
        match self.scheme:
            case ProbeScheme.TCP:
                return TCP_PROBE_PORT
            case ProbeScheme.GRPC:
                return FIRST_GRPC_PROBE_PORT + self.grpc_index
            case _:
                return HTTP_PROBE_PORTS[self.kind]

    @property
    def sidecar_path(self) -> str:
        """The path that the kubelet requests from the sidecar; "" for gRPC."""
        match self.scheme:
            case ProbeScheme.TCP:
                return f"/osm-healthcheck/{self.port}"
            case ProbeScheme.GRPC:
                return ""
            case _:
                return f"/osm-{self.kind.value}-probe/{self.container}"

    @property
    def original_path(self) -> str:
        """The path and query that the container expects."""
        path = self.path.partition("#")[0]
        return path if path.startswith("/") else f"/{path}"
