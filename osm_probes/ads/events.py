"""What the ADS reports about its proxies, for metrics, logs and the command line."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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
    STUCK_ENDED = "stuck ended"
    BROADCAST = "broadcast"


class Observer(Protocol):
    """Is called for each event, on the event loop. Must be fast and must not raise."""

    def __call__(self, event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
        """`type_url`: of REQUESTED, SENT, UNSENT, REJECTED and STUCK_ENDED.

        `seconds`: how long the write took, of SENT and UNSENT.
        """


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proxy's NACK: the rejected version, and the proxy's error message as `detail`, legible and of limited length.

    since: when it began to reject the type, so that it has used an old configuration since then.
    """

    type_url: str
    version: str
    detail: str
    since: datetime


class RejectionReporter(Protocol):
    """Is called when a proxy begins to reject a type, rejects another version, or accepts it again.

    On the event loop. Must be fast and must not raise.
    """

    def __call__(self, name: ProxyName, type_url: str, rejection: Rejection | None, /) -> None:
        """`rejection`: None if the proxy no longer rejects the type."""


@dataclass(frozen=True, slots=True)
class UnansweredResponse:
    """A response without ACK or NACK. `seconds`: how long the proxy could have answered it."""

    type_url: str
    version: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ConnectedProxy:
    """One stream. `form`: the xDS variant. `age`: in seconds. `accepted`: the last accepted version of each type.

    rejection: the last one on this stream, even if it is over. rejecting: those that are not over. stuck: responses
    without an answer for so long that the subscription no longer works.
    """

    name: ProxyName
    form: str
    age: float
    accepted: Mapping[str, str]
    rejection: Rejection | None = None
    rejecting: tuple[Rejection, ...] = ()
    stuck: tuple[UnansweredResponse, ...] = ()
