"""Application probes: what admission moves from the pod's ports to the sidecar's; bootstrap serves it."""

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
    """What the kubelet would have spoken to the container."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    GRPC = "grpc"


HTTP_PORTS: Final = {
    ProbeKind.LIVENESS: LIVENESS_PROBE_PORT,
    ProbeKind.READINESS: READINESS_PROBE_PORT,
    ProbeKind.STARTUP: STARTUP_PROBE_PORT,
}


@dataclass(frozen=True, slots=True)
class RewrittenProbe:
    """One probe of one container as its pod stated it, and where the kubelet is to ask instead.

    HTTP and HTTPS become httpGet (scheme HTTP) of `listening_path` on `listening_port`; so does TCP. The probe's own
    headers stay in the pod. `path` may have a query; "" is "/". `port` is the number, already looked up from its name.
    gRPC stays gRPC with its service name, on `listening_port`: `place` counts the pod's different gRPC-probed ports
    from 0, since a gRPC probe has no path to tell them apart.
    """

    kind: ProbeKind
    container: str
    scheme: ProbeScheme
    port: int
    path: str = "/"
    place: int = 0

    @property
    def listening_port(self) -> int:
        """The sidecar's port that answers; it must not be redirected to the inbound listener."""
        match self.scheme:
            case ProbeScheme.TCP:
                return TCP_PROBE_PORT
            case ProbeScheme.GRPC:
                return FIRST_GRPC_PROBE_PORT + self.place
            case _:
                return HTTP_PORTS[self.kind]

    @property
    def listening_path(self) -> str:
        """The path that the kubelet asks for; "" for gRPC."""
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
