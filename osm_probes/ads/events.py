"""What the ADS reports about its proxies, for metrics, logs and the command line."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from osm_probes.mesh.identity import ProxyName


class Event(enum.Enum):
    """Something that happened to a proxy's stream. The canary's stream causes no events."""

    CONNECTED = "connected"
    RECONNECTED = "reconnected"
    DISCONNECTED = "disconnected"
    CAPPED = "capped"
    REQUESTED = "requested"
    SENT = "sent"
    UNSENT = "unsent"
    REJECTED = "rejected"
    BROADCAST = "broadcast"


class Observer(Protocol):
    """Is called for each event, on the event loop. Must be fast and must not raise."""

    def __call__(self, event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
        """`type_url`: of REQUESTED, SENT, UNSENT and REJECTED. `seconds`: how long the write took, of SENT, UNSENT."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proxy's NACK: the rejected version, and the proxy's error message as `detail`."""

    type_url: str
    version: str
    detail: str


@dataclass(frozen=True, slots=True)
class ConnectedProxy:
    """One stream. `form`: the xDS variant. `age`: in seconds. `accepted`: the last accepted version of each type."""

    name: ProxyName
    form: str
    age: float
    accepted: Mapping[str, str]
    rejection: Rejection | None
