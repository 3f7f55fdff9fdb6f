"""Rulings -> transitions: each fall and each recovery, said once."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from osm_probes.foundation.logs import logger
from osm_probes.probes.link import Transition
from osm_probes.probes.verdict import DRAINING, Ruling

_HISTORY: Final = 20


@dataclass(frozen=True, slots=True)
class _Held:
    healthy: bool
    since: float
    since_time: datetime


class Record:
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

    def since(self, ruling: Ruling) -> datetime | None:
        """Since when the probe's verdict is this one; None if it is another, as where checks were left out."""
        held = self._held.get(ruling.probe)
        return held.since_time if held and held.healthy is ruling.healthy else None

    def note(self, ruling: Ruling) -> None:
        """Take the newest ruling of a probe."""
        before = self._held.get(ruling.probe)
        if before and before.healthy is ruling.healthy:
            return
        held = self._held[ruling.probe] = _Held(ruling.healthy, self._clock(), self._now())
        if before:
            culprit = ruling.culprit
            self._say(
                Transition(
                    at=held.since_time,
                    probe=ruling.probe,
                    healthy=ruling.healthy,
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
