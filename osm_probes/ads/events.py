"""What the ADS can tell about its proxies: values for metrics, logs and the command line."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from osm_probes.mesh.identity import ProxyName


class Event(enum.Enum):
    """Something that happened with a proxy; the canary's doings are none of these."""

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
    """Is told each event as it happens, on the event loop; must be quick and must not raise."""

    def __call__(self, event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
        """`type_url` for REQUESTED, SENT, UNSENT and REJECTED; `seconds` that a response took for SENT and UNSENT."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proxy's NACK: of which version, with its words."""

    type_url: str
    version: str
    detail: str


@dataclass(frozen=True, slots=True)
class ConnectedProxy:
    """One stream: `age` in seconds, `accepted` the version of each type, the last rejection if there was one."""

    name: ProxyName
    form: str
    age: float
    accepted: Mapping[str, str]
    rejection: Rejection | None
