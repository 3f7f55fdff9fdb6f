"""A problem that lasts -> one log line when it begins and one when it ends."""

import enum
import time
from collections.abc import Callable
from typing import Literal

from osm_probes.foundation.rate_limited_log import RateLimitedLog


class Repeat(enum.Enum):
    """Whether a lasting problem is logged again."""

    NEVER = enum.auto()
    WHEN_CHANGED = enum.auto()
    """Yes, when its text changes: a person may have to do something else now."""


class ProblemLog:
    """Logs the beginning of a problem as a warning or an error; logs its end, with its duration, as info.

    began, ended: the messages of the two lines, which are constant. The text of the problem is the field `error`, its
    duration in seconds is the field `after`. A problem that comes and goes writes 20 lines a minute at most.
    """

    def __init__(
        self,
        component: str,
        *,
        began: str,
        ended: str,
        level: Literal["warning", "error"] = "warning",
        repeat: Repeat = Repeat.NEVER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = RateLimitedLog(component, depth=1, clock=clock)  # a line names who calls `update`
        self._began = began
        self._ended = ended
        self._log = self._logger.warning if level == "warning" else self._logger.error
        self._repeat = repeat
        self._clock = clock
        self._problem = ""
        self._since = 0.0

    def update(self, problem: str, **facts: object) -> bool:
        """Report the current problem; "" means that there is none. True if the problem was logged now."""
        previous, self._problem = self._problem, problem
        if not problem:
            if previous:
                self._logger.info(self._ended, after=round(self._clock() - self._since, 1), **facts)
            return False
        if not previous:
            self._since = self._clock()
        elif self._repeat is Repeat.NEVER or problem == previous:
            return False
        self._log(self._began, error=problem, **facts)
        return True
