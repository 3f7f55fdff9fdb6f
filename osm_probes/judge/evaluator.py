"""Checks -> results: whether the program is alive and ready."""

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from osm_probes.health.checks import CheckResult, run_checks
from osm_probes.judge.checks import CHECKS, Check, CheckFactory, Stage
from osm_probes.judge.program_view import Liveness, ProgramView
from osm_probes.judge.result import ProbeResult

_MARGIN: Final = 0.1  # a connection has its own time limit, after which it reports the step that it waited for


class ProbeEvaluator:
    """Evaluates alive and ready of one program. `observe` is called with each complete result.

    ready_checked_at: when all checks of readiness last ran, in ns of the monotonic clock; 0 after a change.
    """

    def __init__(
        self,
        program: ProgramView,
        *,
        checks: Mapping[str, CheckFactory] = CHECKS,
        observe: Callable[[ProbeResult], None] = lambda _: None,
    ) -> None:
        self._program = program
        self._checks = {name: checks[name](program) for name in program.judge_state.ready}
        self._observe = observe
        self._checked_at = 0
        self._checked_version = -1

    @property
    def ready_checked_at(self) -> int:
        """See the class."""
        return self._checked_at if self._checked_version == self._program.changes.version else 0

    def alive(self, *, exclude: Collection[str] = ()) -> ProbeResult:
        """The liveness result: whether a restart would help. It only reads shared memory."""
        life, reason = self._program.life()
        name = self._program.judge_state.alive
        result = ProbeResult("alive", (CheckResult(name, reason),), responds=life is not Liveness.NOT_SERVED)
        self._observe(result)
        return dataclasses.replace(result, checks=()) if name in exclude else result

    async def ready(self, *, exclude: Collection[str] = ()) -> ProbeResult:
        """The readiness result: runs all checks except those in `exclude`."""
        version = self._program.changes.version
        result = await self.run_only(*(name for name in self._checks if name not in exclude))
        if not set(exclude) & self._checks.keys():
            self._observe(result)
            if version == self._program.changes.version:  # else the result may describe an earlier state
                self._checked_at, self._checked_version = self._program.clock(), version
        return result

    async def run_only(self, *names: str) -> ProbeResult:
        """The result of only these checks of readiness."""
        deadline = time.monotonic() + self._program.judge_state.canary_limit
        results: dict[str, CheckResult] = {}
        for stage in Stage:
            wait = max(0.0, deadline - time.monotonic()) if all(result.healthy for result in results.values()) else 0.0
            checks = [self._checks[name] for name in names if self._checks[name].stage is stage]
            results |= await self._run_stage(checks, wait=wait)
        return ProbeResult("ready", tuple(results[name] for name in names))

    async def _run_stage(self, checks: Collection[Check], *, wait: float) -> Mapping[str, CheckResult]:
        within = self._program.judge_state.canary_limit + _MARGIN
        return await run_checks({check.name: partial(check.run, wait=wait) for check in checks}, within=within)
