"""Heartbeat, judge state and checks -> results: what the judge knows, and what it makes of it."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from osm_probes.foundation.latest import Latest
from osm_probes.health.checks import Check, CheckResult, Question, UnhealthyError, examine
from osm_probes.health.heartbeat import Heartbeat, HeartbeatReading
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.lifecycle import Phase
from osm_probes.judge.result import UNSERVED, Life, ProbeResult, death, leaving, life, refusal

_ASLEEP: Final = 1.0
_MARGIN: Final = 0.1  # a dial bounds itself and says how far it came; only then it is cut off


class ProbeEvaluator:
    """Rules on alive and ready of one program. `dials` are the questions that open a connection, by their check.

    `observe` sees each whole ruling. `ready_asked_at` is the clock's ns when readiness was
    last seen whole, 0 where phase, life or briefing have changed since.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        *,
        judge_state: JudgeState,
        dials: Mapping[str, Question],
        observe: Callable[[ProbeResult], None] = lambda _: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.judge_state = judge_state
        self.ready_asked_at = 0
        self._heartbeat = heartbeat
        self._dials = dials
        self._observe = observe
        self._clock = clock
        self._phase = Phase.STARTING
        self._life = Life.UNBORN
        self._changes = 0
        self._briefed: Latest[int] = Latest(0)
        # A new judge excuses nothing: a program that hangs must not seem alive again each time its judge is replaced.
        self._awake_since = 0
        self._looked_at = clock()

    def brief(self, judge_state: JudgeState) -> None:
        """Know this from now on."""
        self.judge_state = judge_state
        self._briefed.set(self._briefed.value + 1)
        self._change()

    def look(self) -> HeartbeatReading:
        """The program's vitals; call it twice a second: after a longer gap in these calls the judge itself was asleep.

        Then the program may have slept as well, so its beat counts from here.
        """
        now = self._clock()
        # Not each delay is a sleep: a judge that is merely short of processor time must not excuse a dead program.
        if now - self._looked_at > max(_ASLEEP, self.judge_state.heartbeat_limit / 3) * 1e9:
            self._awake_since = now
        self._looked_at = now
        reading = self._heartbeat.read(not_before=self._awake_since)
        if reading.phase is not self._phase:
            self._phase = reading.phase
            self._change()
        return reading

    def alive(self, *, without: Collection[str] = ()) -> ProbeResult:
        """Whether a restart would cure something, from shared memory alone."""
        limit = self.judge_state.heartbeat_limit
        reading = self.look()
        state = life(reading, heartbeat_limit=limit)
        if state is not self._life:
            self._life = state
            self._change()
        reason = death(reading, heartbeat_limit=limit) if state is Life.DEAD else ""
        checks = (CheckResult(self.judge_state.alive, reason),)
        result = ProbeResult("alive", checks, responds=state is not Life.UNBORN)
        self._observe(result)
        return dataclasses.replace(result, checks=tuple(each for each in checks if each.name not in without))

    async def ready(self, *, without: Collection[str] = ()) -> ProbeResult:
        """Whether to send work now: asks each check but those in `without`."""
        changes = self._changes
        result = await self.ask(*(name for name in self.judge_state.ready if name not in without))
        if not set(without) & set(self.judge_state.ready):
            self._observe(result)
            if changes == self._changes:  # else it may be about what was before
                self.ready_asked_at = self._clock()
        return result

    async def ask(self, *names: str) -> ProbeResult:
        """The ruling on these checks of readiness alone."""
        due = time.monotonic() + self.judge_state.canary_limit
        checks = await self._examine([name for name in names if name in self._dials])
        if "mesh" in names and all(report.healthy for report in checks) and not leaving(self.look()):
            await self._mesh_told(due)
        # What is told is looked up last: a dial takes its time, and the answer must be true when it is given.
        checks += await self._examine([name for name in names if name not in self._dials])
        by_name = {report.name: report for report in checks}
        return ProbeResult("ready", tuple(by_name[name] for name in names))

    async def _examine(self, names: Collection[str]) -> tuple[CheckResult, ...]:
        checks = [Check(name, self._question(name)) for name in names]
        return await examine(checks, within=self.judge_state.canary_limit + _MARGIN)

    async def _mesh_told(self, due: float) -> None:
        """Wait for a mesh until the moment `due`: a proxy that dials now waits for it on its stream just as long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                while self._told("mesh"):
                    await self._briefed.after(self._briefed.version)

    def _change(self) -> None:
        self._changes += 1
        self.ready_asked_at = 0

    def _question(self, name: str) -> Question:
        async def ask() -> None:
            if name in self._dials:
                await self._dial(name)
            elif reason := self._told(name):
                raise UnhealthyError(reason)

        return ask

    async def _dial(self, name: str) -> None:
        reading = self.look()
        reason = refusal(reading, heartbeat_limit=self.judge_state.heartbeat_limit)
        if name == "review":  # an injector has no check for draining alone
            reason = reason or leaving(reading)
        if reason:
            raise UnhealthyError(reason)
        # Also while it starts: its clients wait where it listens but has not come to them, and are served then.
        await self._dials[name]()
        if not self.look().has_served:  # another one answers there
            raise UnhealthyError(UNSERVED)

    def _told(self, name: str) -> str:
        if name == "draining":
            return leaving(self.look())
        if name == "certificates":
            return _expired(self.judge_state.expiries, now=datetime.now(UTC))
        return self.judge_state.told.get(name, "nothing known yet")


def _expired(expiries: Mapping[str, datetime], *, now: datetime) -> str:
    ended = [f"the {kind} certificate expired at {at:%FT%TZ}" for kind, at in expiries.items() if at <= now]
    return ", ".join(ended) if ended or expiries else "no certificate yet"
