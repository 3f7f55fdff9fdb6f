"""What proxies wait for, twice a second -> why the checks `ads` and `updates` fail.

The checks read the ages of waiting work, and not whether some task runs: whatever stops the work, its age grows.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.health.backlog import Backlog
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.source import Step
from osm_probes.snapshot.cache import SnapshotCache

_LOOK_EVERY: Final = 0.5
_ON_TIME_FOR: Final = 5.0
"""For so many seconds nothing may have been late before `updates` is healthy again: steady change must not flap it."""
_MAX_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class DelayLimits:
    """In seconds. first: until a proxy has its first configuration. updates: until a change has reached the proxies."""

    first: float
    updates: float


class Delays:
    """Measures what proxies wait for.

    first, update: for how many seconds the first configuration of an identity, and the oldest change, have been due.
    stream_delay: for how many seconds a stream has not processed a newer snapshot, though its proxy reads.
    """

    def __init__(
        self,
        cache: SnapshotCache,
        updates: Backlog,
        *,
        stream_delay: Callable[[], float],
        limits: DelayLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.first = 0.0
        self.update = 0.0
        self._cache = cache
        self._updates = updates
        self._stream_delay = stream_delay
        self._limits = limits
        self._clock = clock
        self._late_until = clock() - _ON_TIME_FOR
        self._first_log = ProblemLog(
            "ads",
            began="proxies wait for their first configuration",
            ended="no proxy waits for its first configuration",
        )
        self._updates_log = ProblemLog(
            "ads", began="changes do not reach the proxies", ended="changes reach the proxies in time again"
        )

    async def follow(self, update: Callable[[Mapping[str, Problem]], None]) -> None:
        """Call `update` with the problems of both checks, until cancelled."""
        while True:
            update(self.problems())
            await asyncio.sleep(_LOOK_EVERY)

    def problems(self) -> Mapping[str, Problem]:
        """The problems now, by the names of the checks; false if there is none."""
        first, updates = self._first_problem(), self._updates_problem()
        self._first_log.update(str(first))
        self._updates_log.update(str(updates))
        return {"ads": first, "updates": updates}

    def _first_problem(self) -> Problem:
        waiting = [(key, since) for key, since in self._cache.waiting.items() if isinstance(key, Identity)]
        self.first = self._clock() - waiting[0][1] if waiting else 0.0
        if self.first <= self._limits.first:
            return Problem()
        identities = "1 identity waits for its" if len(waiting) == 1 else f"{len(waiting)} identities wait for their"
        longest = "" if len(waiting) == 1 else "the longest "
        summary = f"{identities} configuration, {longest}for {self.first:.0f} s"
        names = ", ".join(str(identity) for identity, _ in waiting[:_MAX_NAMED])
        return Problem(summary, f"{summary}: {names}")

    def _updates_problem(self) -> Problem:
        work, age = self._updates.oldest() or (None, 0.0)
        stream = self._stream_delay()
        self.update = max(age, stream)
        now = self._clock()
        if self.update > self._limits.updates:
            self._late_until = now
            where = "a stream does not send what is built" if stream > age else _where(work)
            summary = f"a change has not reached the proxies for {self.update:.0f} s: {where}"
            return Problem(summary, f"{summary}: {work}" if isinstance(work, Identity) else "")
        if now - self._late_until < _ON_TIME_FOR:
            return Problem("changes were late less than 5 s ago")
        return Problem()


def _where(work: Hashable) -> str:
    return work.value if isinstance(work, Step) else "the configuration of an identity is outdated"
