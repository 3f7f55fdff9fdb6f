"""How soon something that failed is tried again: doubling, with jitter, so that many do not come at once."""

import random
from collections.abc import Callable
from typing import Final

_FIRST: Final = 0.2
_MOST: Final = 8.0


class Backoff:
    """The pauses between attempts, in seconds: 0.2 doubling to 8, each between half and all of that."""

    def __init__(
        self, *, first: float = _FIRST, most: float = _MOST, chance: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._most = most
        self._chance = chance
        self._next = first

    def pause(self, *, at_least: float = 0.0) -> float:
        """The pause before the next attempt; what the other side asked for is kept."""
        pause = self._next * (0.5 + self._chance() / 2)
        self._next = min(2 * self._next, self._most)
        return max(pause, min(at_least, 60.0))

    def reset(self) -> None:
        """It went well: begin anew."""
        self._next = self._first
