"""Pauses between attempts, growing and jittered, so that many clients do not retry at the same moment."""

import random
from collections.abc import Callable
from typing import Final

_FIRST: Final = 0.2
_MOST: Final = 8.0


class Backoff:
    """The pauses between attempts, in seconds: 0.2 doubling to 8, each between half and all of that.

    chance: a random number from 0 to 1.
    """

    def __init__(
        self, *, first: float = _FIRST, most: float = _MOST, chance: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._most = most
        self._chance = chance
        self._next = first

    def pause(self, *, at_least: float = 0.0) -> float:
        """The pause before the next attempt: `at_least` is what the other side asked for, up to a minute."""
        pause = self._next * (0.5 + self._chance() / 2)
        self._next = min(2 * self._next, self._most)
        return max(pause, min(at_least, 60.0))

    def reset(self) -> None:
        """An attempt has succeeded: begin with the first pause again."""
        self._next = self._first
