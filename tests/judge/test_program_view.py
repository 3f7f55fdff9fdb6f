import pytest

from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.lifecycle import Phase
from osm_probes.judge.program_view import Liveness, ProgramView
from osm_probes.runtime.initial_judge_state import CONTROLLER
from tests.judge.evaluators import Clock

LIMIT = CONTROLLER.heartbeat_limit
FRESH, STALE = 0.5, LIMIT + 0.5
NO_RESPONSE, OK, NO = Liveness.NOT_SERVED, Liveness.ALIVE, Liveness.DEAD

# phase, served once, age of the beat -> alive, and whether readiness is left to the checks
TABLE = [
    (Phase.STARTING, False, FRESH, NO_RESPONSE, True),
    (Phase.STARTING, False, STALE, NO_RESPONSE, False),
    (Phase.SERVING, True, FRESH, OK, True),
    (Phase.SERVING, True, STALE, NO, False),
    (Phase.RECOVERING, True, FRESH, OK, False),
    (Phase.RECOVERING, True, STALE, NO, False),
    (Phase.DRAINING, True, FRESH, OK, False),
    (Phase.DRAINING, True, STALE, NO, False),
    (Phase.STOPPED, True, FRESH, OK, False),
    (Phase.STOPPED, False, FRESH, NO_RESPONSE, False),
    (Phase.FAILED, True, FRESH, NO, False),
    (Phase.FAILED, True, STALE, NO, False),
    (Phase.FAILED, False, FRESH, NO_RESPONSE, False),
]


def aged(phase: Phase, age: float, *, served: bool) -> ProgramView:
    """A program in this phase whose last beat is `age` seconds old, seen by a judge that was awake all the time."""
    clock = Clock()
    heartbeat = Heartbeat.create(clock=clock)
    heartbeat.show(phase, has_served=served)
    clock.sleep(age)
    return ProgramView(heartbeat, CONTROLLER, clock=clock)


@pytest.mark.parametrize(("phase", "served", "age", "alive", "asked"), TABLE)
def test_the_contracts_table_holds(*, phase: Phase, served: bool, age: float, alive: Liveness, asked: bool) -> None:
    program = aged(phase, age, served=served)
    assert program.life()[0] is alive
    assert (not program.out_of_service() and not program.draining()) is asked


def test_a_beat_as_old_as_the_limit_is_fresh() -> None:
    assert aged(Phase.SERVING, LIMIT, served=True).life() == (Liveness.ALIVE, "")
