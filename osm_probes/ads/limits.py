"""What the ADS bounds: connections, streams, their age, and how long a proxy may keep it waiting."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.health.recovery import RECOVER_WITHIN

_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds. `connections` counts accepted sockets, with or without a finished handshake.

    look_every: whether the port still listens. recover: how long it is tried to be had back.
    """

    connections: int = 12_000
    handshake: float = 5.0
    stream_age: float = 30 * 60.0
    write: float = 10.0
    look_every: float = 1.0
    recover: float = RECOVER_WITHIN
    requests_per_second: int = 200
    request_bytes: int = 4 * 1024 * 1024

    def age(self, draw: Callable[[], float] = random.random) -> float:
        """The age at which one stream ends: jittered, so that streams that began together do not end together."""
        return self.stream_age * (1 + _JITTER * (2 * draw() - 1))

    @property
    def grace(self) -> float:
        """How long the oldest stream may live."""
        return self.stream_age * (1 + _JITTER)


def channel_options(limits: Limits) -> Sequence[tuple[str, int]]:
    """The limits in grpc's words, and what else its defaults get wrong here."""
    return (
        # On by default: a second process on the port would succeed silently.
        ("grpc.so_reuseport", 0),
        # Idle connections and half-open handshakes end here and never reach Python.
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake * 1000)),
        ("grpc.max_connection_idle_ms", 60_000),
        # A proxy has one; a newer one may come before the older one has ended.
        ("grpc.max_concurrent_streams", 4),
        ("grpc.max_receive_message_length", limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        # An Envoy that pings each second would lose its stream every few seconds.
        ("grpc.http2.max_ping_strikes", 0),
        # Finds proxies that are gone without a word.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
    )
