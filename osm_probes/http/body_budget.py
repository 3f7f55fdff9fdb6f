"""Bytes of request bodies in memory -> a bounded sum: when it is exceeded, the slowest clients are dropped."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class BodyHolder(Protocol):
    """A connection that holds a request body in memory."""

    def drop(self) -> None:
        """End the request and the connection, and free the body."""


@dataclass(slots=True)
class _Charge:
    since: float
    size: int = 0
    complete_after: float | None = None

    def cost(self, now: float) -> float:
        """Bytes times the seconds that the client took, or has taken so far, to send them."""
        return self.size * (now - self.since if self.complete_after is None else self.complete_after)


class BodyBudget:
    """Limits the bytes of all request bodies in memory to `limit`. They are charged when received, not when announced.

    When the sum exceeds the limit, the holder with the highest cost is dropped: the cost is the bytes that it holds,
    times the seconds that its client took to send them. A fast client, such as an API server, has a low cost.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._charges: dict[BodyHolder, _Charge] = {}
        self.held = 0

    def begin(self, holder: BodyHolder) -> None:
        """A body begins to arrive."""
        self._charges[holder] = _Charge(self._clock())

    def add(self, holder: BodyHolder, size: int) -> None:
        """So many more bytes of the holder's body were received. This may drop the holder, or others."""
        if (charge := self._charges.get(holder)) is None:
            return  # it was dropped
        charge.size += size
        self.held += size
        while self.held > self._limit:
            self._drop_slowest()

    def complete(self, holder: BodyHolder) -> None:
        """The holder's body is complete; it stays in memory."""
        if (charge := self._charges.get(holder)) is not None:
            charge.complete_after = self._clock() - charge.since

    def end(self, holder: BodyHolder) -> None:
        """The holder's body is no longer in memory."""
        if (charge := self._charges.pop(holder, None)) is not None:
            self.held -= charge.size

    def _drop_slowest(self) -> None:
        now = self._clock()
        slowest = max(self._charges, key=lambda holder: self._charges[holder].cost(now))
        self.end(slowest)
        slowest.drop()
