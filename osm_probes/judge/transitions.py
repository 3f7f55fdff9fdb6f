"""Rulings -> transitions: each fall and each recovery, said once."""

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
    healthy: bool
    since: float
    since_time: datetime


class TransitionLog:
    """Remembers each probe's verdict and since when; logs its changes and tells them on.

    The first verdict is no change: a start is no fall, and a judge that was restarted does not repeat one.
    """

    def __init__(
        self,
        tell: Callable[[Transition], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.transitions: deque[Transition] = deque(maxlen=_HISTORY)
        """The newest 20, oldest first."""
        self._tell = tell
        self._clock = clock
        self._now = now
        self._held: dict[str, _Held] = {}

    def since(self, result: ProbeResult) -> datetime | None:
        """Since when the probe's verdict is this one; None if it is another, as where checks were left out."""
        held = self._held.get(result.probe)
        return held.since_time if held and held.healthy is result.healthy else None

    def note(self, result: ProbeResult) -> None:
        """Take the newest ruling of a probe."""
        before = self._held.get(result.probe)
        if before and before.healthy is result.healthy:
            return
        held = self._held[result.probe] = _Held(result.healthy, self._clock(), self._now())
        if before:
            culprit = result.culprit
            self._say(
                Transition(
                    at=held.since_time,
                    probe=result.probe,
                    healthy=result.healthy,
                    check=culprit.name,
                    reason=culprit.reason,
                    lasted=round(held.since - before.since, 3),
                )
            )

    def _say(self, transition: Transition) -> None:
        log = logger("judge")
        if transition.healthy:
            log.info("a probe recovered", probe=transition.probe, after=transition.lasted)
        else:
            # Liveness leads to a restart, which somebody should look at; a drain was asked for.
            say = log.error if transition.probe == "alive" else log.warning
            say = log.info if transition.reason == DRAINING else say
            say("a probe fell", probe=transition.probe, check=transition.check, reason=transition.reason)
        self.transitions.append(transition)
        self._tell(transition)


class VerdictWatch:
    """Yes or no of each probe: asked now, or watched."""

    def __init__(self) -> None:
        self._newest: Latest[Mapping[str, bool]] = Latest({})

    def note(self, result: ProbeResult) -> None:
        """Take the newest ruling of a probe."""
        self._newest.set({**self._newest.value, result.probe: result.healthy})

    async def watch(self, evaluator: ProbeEvaluator, probe: str) -> AsyncGenerator[bool]:
        """The verdict now, asked for, then each time that it has changed, without an end."""
        said = await verdict(evaluator, probe)
        yield said
        async for newest in self._newest.values():
            if newest.get(probe, said) is not said:
                said = not said
                yield said


async def verdict(evaluator: ProbeEvaluator, probe: str) -> bool:
    """The verdict of alive or ready."""
    result = evaluator.alive() if probe == "alive" else await evaluator.ready()
    return result.healthy
