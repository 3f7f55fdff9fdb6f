"""The limits of a server's clients."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server's clients; durations in seconds.

    connections: at most so many; when one more comes, the oldest idle one is dropped. idle: between two requests.
    head: for the TLS handshake, and for the head of a request. linger: for a body that nobody reads, so that the client
    reads the response instead of a reset. sent: until the client has read what was sent. busy: a request in flight for
    longer makes room as well when no connection is idle. A connection whose request body is still arriving counts as
    idle. bodies: the bytes of all request bodies in memory (see `BodyBudget`).
    """

    connections: int
    idle: float
    head: float = 3.0
    linger: float = 3.0
    sent: float = 3.0
    busy: float = math.inf
    bodies: int = 32 * 1024 * 1024
