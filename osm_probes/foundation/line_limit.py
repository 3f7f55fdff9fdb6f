"""A limit for log lines that others can cause at will."""

import time
from collections.abc import Callable
from typing import Final

_PERIOD: Final = 60.0


class LineLimit:
    """Admits at most `limit` lines in a period of 60 s, and counts the others."""

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._since = clock()
        self._admitted = 0
        self._suppressed = 0

    def admit(self) -> int | None:
        """None: the next line must not be written. Otherwise how many lines were suppressed since the last one."""
        now = self._clock()
        if now - self._since >= _PERIOD:
            self._since, self._admitted = now, 0
        if self._admitted >= self._limit:
            self._suppressed += 1
            return None
        self._admitted += 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
