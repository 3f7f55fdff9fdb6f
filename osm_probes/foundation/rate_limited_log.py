"""Log lines that a peer can cause at will -> a bounded number of them, and the count of the others."""

import time
from collections.abc import Callable
from typing import Final

from osm_probes.foundation.line_limit import LineLimit
from osm_probes.foundation.logs import logger

_LIMIT: Final = 20


class RateLimitedLog:
    """Logs at most `limit` lines a minute. The next line has the field `suppressed`: how many were not written.

    depth: as for `logger`.
    """

    def __init__(
        self, component: str, *, limit: int = _LIMIT, depth: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger(component, depth=depth + 1)
        self._limit = LineLimit(limit, clock=clock)

    def info(self, message: str, **facts: object) -> None:
        """As ComponentLogger.info."""
        if (suppressed := self._limit.admit()) is not None:
            self._logger.info(message, **facts, **_count(suppressed))

    def warning(self, message: str, **facts: object) -> None:
        """As ComponentLogger.warning."""
        if (suppressed := self._limit.admit()) is not None:
            self._logger.warning(message, **facts, **_count(suppressed))

    def error(self, message: str, **facts: object) -> None:
        """As ComponentLogger.error."""
        if (suppressed := self._limit.admit()) is not None:
            self._logger.error(message, **facts, **_count(suppressed))


def _count(suppressed: int) -> dict[str, int]:
    return {"suppressed": suppressed} if suppressed else {}
