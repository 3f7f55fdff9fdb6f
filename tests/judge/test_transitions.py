from datetime import UTC, datetime

from osm_probes.health.checks import CheckResult
from osm_probes.health.messages import Transition
from osm_probes.judge.result import ProbeResult
from osm_probes.judge.transitions import TransitionLog

AT = datetime(2026, 1, 2, tzinfo=UTC)
HEALTHY = ProbeResult("ready", (CheckResult("ads"), CheckResult("mesh")))
UNHEALTHY = ProbeResult("ready", (CheckResult("ads"), CheckResult("mesh", "not synced yet")))


def transitions(*results: ProbeResult) -> list[Transition]:
    """The transitions of these results, which come a second apart."""
    found: list[Transition] = []
    now = 0.0
    log = TransitionLog(found.append, clock=lambda: now, now=lambda: AT)
    for result in results:
        log.observe(result)
        now += 1.0
    return found


def test_a_fall_is_one_transition_with_its_reason() -> None:
    fall = Transition(at=AT, probe="ready", healthy=False, check="mesh", reason="not synced yet", lasted=2.0)
    assert transitions(HEALTHY, HEALTHY, UNHEALTHY, UNHEALTHY, UNHEALTHY) == [fall]


def test_a_recovery_is_one_transition_with_how_long_the_fall_lasted() -> None:
    assert transitions(UNHEALTHY, UNHEALTHY, UNHEALTHY, HEALTHY, HEALTHY) == [
        Transition(at=AT, probe="ready", healthy=True, lasted=3.0)
    ]


def test_the_first_result_is_no_change() -> None:
    assert transitions(UNHEALTHY) == transitions(HEALTHY) == []


def test_each_probe_falls_by_itself() -> None:
    dead = ProbeResult("alive", (CheckResult("ads", "no beat for 16.0 s"),))
    alive = ProbeResult("alive", (CheckResult("ads"),))
    assert [transition.probe for transition in transitions(alive, HEALTHY, dead, HEALTHY)] == ["alive"]
