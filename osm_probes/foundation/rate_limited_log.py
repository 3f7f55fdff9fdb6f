"""Log lines that a peer can cause at will -> a bounded number of them, and the count of the others."""

import time
from collections.abc import Callable
from typing import Final

from osm_probes.foundation.logs import logger

_LIMIT: Final = 20
_PERIOD: Final = 60.0


class RateLimitedLog:
    """Logs at most `limit` lines in a period of 60 s.

    The first line of a later period has the field `suppressed`, the number of lines that were not written before it.
    """

    def __init__(self, component: str, *, limit: int = _LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger(component, depth=1)  # a line names who calls this class
        self._limit = limit
        self._clock = clock
        self._since = clock()
        self._written = 0
        self._suppressed = 0

    def warning(self, message: str, **facts: object) -> None:
        """As ComponentLogger.warning."""
        if (count := self._admit()) is not None:
            self._logger.warning(message, **facts, **count)

    def error(self, message: str, **facts: object) -> None:
        """As ComponentLogger.error."""
        if (count := self._admit()) is not None:
            self._logger.error(message, **facts, **count)

    def info(self, message: str, **facts: object) -> None:
        """As ComponentLogger.info."""
        if (count := self._admit()) is not None:
            self._logger.info(message, **facts, **count)

    def _admit(self) -> dict[str, int] | None:
        """The field to add to the next line; None if it is not written."""
        now = self._clock()
        if now - self._since >= _PERIOD:
            self._since, self._written = now, 0
        if self._written >= self._limit:
            self._suppressed += 1
            return None
        self._written += 1
        count = {"suppressed": self._suppressed} if self._suppressed else {}
        self._suppressed = 0
        return count
