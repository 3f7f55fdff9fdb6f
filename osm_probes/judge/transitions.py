"""Probe results -> transitions: each change of a verdict is logged once, and told to the program and to watchers."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.health.messages import DRAINING, Transition
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.result import ProbeResult

_HISTORY: Final = 20


@dataclass(frozen=True, slots=True)
class _Held:
    """A verdict, and since when a probe has had it."""

    healthy: bool
    since: float
    since_time: datetime


class TransitionLog:
    """Remembers the verdict of each probe; logs each change and passes it to `notify`.

    The first verdict is not a transition: neither a start nor a restarted judge reports one.
    """

    def __init__(
        self,
        notify: Callable[[Transition], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.newest: deque[Transition] = deque(maxlen=_HISTORY)
        """The newest 20 transitions, oldest first."""
        self._notify = notify
        self._clock = clock
        self._now = now
        self._held: dict[str, _Held] = {}

    def since(self, result: ProbeResult) -> datetime | None:
        """When the probe got this verdict; None if it has another one, such as when checks were excluded."""
        held = self._held.get(result.probe)
        return held.since_time if held and held.healthy is result.healthy else None

    def observe(self, result: ProbeResult) -> None:
        """Take the newest result of a probe."""
        before = self._held.get(result.probe)
        if before and before.healthy is result.healthy:
            return
        held = self._held[result.probe] = _Held(result.healthy, self._clock(), self._now())
        if before:
            failure = result.first_failure
            transition = Transition(
                at=held.since_time,
                probe=result.probe,
                healthy=result.healthy,
                check=failure.name,
                reason=failure.reason,
                lasted=round(held.since - before.since, 3),
            )
            _log(transition, detail=failure.detail)
            self.newest.append(transition)
            self._notify(transition)


def _log(transition: Transition, *, detail: str) -> None:
    """Log a transition. Only the log has the detail, and not the transition, which port 9091 shows."""
    log = logger("judge")
    if transition.healthy:
        log.info("a probe recovered", probe=transition.probe, after=transition.lasted)
        return
    # A failed liveness leads to a restart, which a person should look at; a drain was asked for.
    write = log.error if transition.probe == "alive" else log.warning
    write = log.info if transition.reason == DRAINING else write
    details = {"detail": detail} if detail else {}
    write("a probe fell", probe=transition.probe, check=transition.check, reason=transition.reason, **details)


class VerdictWatch:
    """The verdict of each probe, for clients that watch it."""

    def __init__(self) -> None:
        self._newest: Latest[Mapping[str, bool]] = Latest({})

    def observe(self, result: ProbeResult) -> None:
        """Take the newest result of a probe."""
        self._newest.set({**self._newest.value, result.probe: result.healthy})

    async def watch(self, evaluator: ProbeEvaluator, probe: str) -> AsyncGenerator[bool]:
        """The verdict now, then after each change, without an end."""
        healthy = await verdict(evaluator, probe)
        yield healthy
        async for newest in self._newest.values():
            if newest.get(probe, healthy) is not healthy:
                healthy = not healthy
                yield healthy


async def verdict(evaluator: ProbeEvaluator, probe: str) -> bool:
    """The verdict of alive or ready now."""
    result = evaluator.alive() if probe == "alive" else await evaluator.ready()
    return result.healthy
