"""The limits of the ADS: connections, streams and their age, and how long a proxy may block a write."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.health.recovery import RECOVER_WITHIN

_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations are in seconds. `connections` counts accepted sockets, including those in the TLS handshake.

    socket_check: the interval at which the listening socket is checked. recovery: how long a lost port is retried.
    hand_over_tries: how often the new server tries to bind the port of the old one, about once in a millisecond. This
    is a count and not a time, because a time would be over after the process was paused. unanswered: the time after
    which a response without an answer counts as stuck. stream_check: the interval at which all streams are checked.
    overhead_bytes: what a connection may send besides requests, for TLS, headers and the frames of HTTP/2, and how much
    more each second. own_call_every: the interval at which the program calls its own server; own_call: how long it
    waits for the answer.
    """

    connections: int = 12_000
    handshake: float = 5.0
    stream_age: float = 30 * 60.0
    write: float = 10.0
    socket_check: float = 1.0
    recovery: float = RECOVER_WITHIN
    hand_over_tries: int = 500
    requests_per_second: int = 200
    unanswered: float = 60.0
    stream_check: float = 5.0
    request_bytes: int = 4 * 1024 * 1024
    overhead_bytes: int = 256 * 1024
    overhead_bytes_per_second: int = 4 * 1024
    own_call_every: float = 0.25
    own_call: float = 60.0

    def jittered_stream_age(self, draw: Callable[[], float] = random.random) -> float:
        """The age at which one stream is ended. The jitter keeps streams of the same age from ending together."""
        return self.stream_age * (1 + _JITTER * (2 * draw() - 1))

    @property
    def longest_stream_age(self) -> float:
        """The upper bound of `jittered_stream_age`."""
        return self.stream_age * (1 + _JITTER)


def channel_options(limits: Limits) -> Sequence[tuple[str, int]]:
    """The limits as gRPC channel arguments, plus replacements for unsuitable defaults."""
    return (
        # On by default: a second process could bind the same port without an error.
        ("grpc.so_reuseport", 0),
        # These end idle connections and unfinished handshakes inside grpc, before they reach Python.
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake * 1000)),
        ("grpc.max_connection_idle_ms", 60_000),
        # A proxy has one stream, but a new one may start before the old one has ended.
        ("grpc.max_concurrent_streams", 4),
        ("grpc.max_receive_message_length", limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        # A compressed request would count as more bytes than were sent. Envoy sends none; others are refused.
        ("grpc.per_message_decompression", 0),
        # Otherwise an Envoy that sends a ping every second loses its stream every few seconds.
        ("grpc.http2.max_ping_strikes", 0),
        # Detects proxies that disappeared without closing the connection.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
    )
