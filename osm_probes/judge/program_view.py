"""What the judge knows of its program: its heartbeat in shared memory, and the newest state that the program sent."""

import enum
import time
from collections.abc import Callable
from typing import Final

from osm_probes.foundation.latest import Changes
from osm_probes.health.heartbeat import Heartbeat, HeartbeatReading
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.lifecycle import Phase
from osm_probes.health.messages import DRAINING

UNSERVED: Final = "it has not served yet"
"""Why a program is not ready before it has served for the first time."""

_SLEPT: Final = 1.0


class Liveness(enum.Enum):
    """What liveness answers."""

    ALIVE = enum.auto()
    DEAD = enum.auto()
    NOT_SERVED = enum.auto()
    """The program has never served: no response."""


class ProgramView:
    """Reads the heartbeat and keeps the newest state. `changes`: the state, the phase or the life has changed."""

    def __init__(
        self, heartbeat: Heartbeat, judge_state: JudgeState, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.judge_state = judge_state
        self.changes = Changes()
        self.clock = clock
        self._heartbeat = heartbeat
        self._phase = Phase.STARTING
        self._life = Liveness.NOT_SERVED
        # Not the start of the judge: else a program that hangs would look alive each time its judge is replaced.
        self._awake_since = 0
        self._read_at = clock()

    def update(self, judge_state: JudgeState) -> None:
        """Take a newer state of the program."""
        self.judge_state = judge_state
        self.changes.notify()

    def read(self) -> HeartbeatReading:
        """The heartbeat now. Call this twice a second: a longer gap means that the judge itself was asleep.

        The program may have been asleep as well, so its beat then counts from the moment when the judge woke up.
        """
        now = self.clock()
        # A shorter gap does not count: a judge that lacks processor time must not hide that the program hangs.
        if now - self._read_at > max(_SLEPT, self.judge_state.heartbeat_limit / 3) * 1e9:
            self._awake_since = now
        self._read_at = now
        reading = self._heartbeat.read(not_before=self._awake_since)
        if reading.phase is not self._phase:
            self._phase = reading.phase
            self.changes.notify()
        return reading

    def life(self) -> tuple[Liveness, str]:
        """What liveness answers, and the reason if the program is dead. A requested stop does not fail liveness."""
        reading = self.read()
        reason = self._failure(reading)
        life = Liveness.NOT_SERVED if not reading.has_served else Liveness.DEAD if reason else Liveness.ALIVE
        if life is not self._life:
            self._life = life
            self.changes.notify()
        return life, reason if life is Liveness.DEAD else ""

    def out_of_service(self) -> str:
        """Why the program says that it does not serve now; "" if only a connection can tell."""
        reading = self.read()
        if reading.phase is Phase.RECOVERING:
            return "it lost its listener and binds again"
        return self._failure(reading)

    def draining(self) -> str:
        """Why no new work should be sent to the program although it serves; "" if it should."""
        return DRAINING if self.read().phase in (Phase.DRAINING, Phase.STOPPED) else ""

    def _failure(self, reading: HeartbeatReading) -> str:
        if reading.phase is Phase.FAILED:
            return "it has failed"
        if reading.beat_age > self.judge_state.heartbeat_limit:
            return f"no beat for {reading.beat_age:.1f} s"
        return ""
