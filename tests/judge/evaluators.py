"""Evaluators over a heartbeat in this process; what checks would connect to is replaced by a question."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from osm_probes.foundation.problem import Problem
from osm_probes.health.checks import CheckFunction, UnhealthyError
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.judge_state import AdsCanary, JudgeState
from osm_probes.health.lifecycle import Phase
from osm_probes.judge.checks import CHECKS, Check, CheckFactory, ConnectionCheck
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.program_view import ProgramView
from osm_probes.judge.result import ProbeResult
from osm_probes.runtime.initial_judge_state import CONTROLLER

CANARY = AdsCanary(address="127.0.0.1", port=1, server_name="", root_pem=b"", chain_pem=b"", key_pem=b"", steps=())
HEALTHY = msgspec.structs.replace(
    CONTROLLER,
    problems={"mesh": Problem(), "updates": Problem(), "capacity": Problem()},
    expiries={"ads": datetime.now(UTC) + timedelta(hours=1)},
    ads=CANARY,
)
"""The state of a controller in which every check but the connection is healthy."""


class Clock:
    """Nanoseconds that pass only in `sleep`."""

    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


async def yes() -> None:
    return


async def no() -> None:
    raise UnhealthyError("refused")


def view(judge_state: JudgeState = HEALTHY, *, phase: Phase = Phase.SERVING, clock: Clock | None = None) -> ProgramView:
    """A program in this phase that has just beaten. In STARTING it has never served."""
    clock = clock or Clock()
    heartbeat = Heartbeat.create(clock=clock)
    heartbeat.show(phase, has_served=phase is not Phase.STARTING)
    return ProgramView(heartbeat, judge_state, clock=clock)


def evaluator_of(
    program: ProgramView,
    *,
    connections: Mapping[str, CheckFunction] | None = None,
    observe: Callable[[ProbeResult], None] = lambda _: None,
) -> ProbeEvaluator:
    """Evaluates this program. connections: what checks that connect find, by name; all others succeed."""
    questions = {"ads": yes, "certificate": yes, "bundle": yes, "review": yes, **(connections or {})}
    return ProbeEvaluator(program, checks={**CHECKS, **_replaced(questions)}, observe=observe)


def _replaced(questions: Mapping[str, CheckFunction]) -> Mapping[str, CheckFactory]:
    return {name: _factory(name, question) for name, question in questions.items() if name in CHECKS}


def _factory(name: str, question: CheckFunction) -> CheckFactory:
    replaced = CHECKS[name]
    assert isinstance(replaced, type)
    assert issubclass(replaced, ConnectionCheck)

    async def connect(_self: Check, _canary: object, *, within: float) -> None:
        await question()

    members = {"keep": 0.0, "_canary": lambda _self: CANARY, "_connect": connect}
    made: CheckFactory = type(replaced.__name__, (replaced,), members)
    return made
