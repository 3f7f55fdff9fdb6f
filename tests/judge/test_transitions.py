from datetime import UTC, datetime

from osm_probes.health.checks import CheckResult
from osm_probes.health.messages import Transition
from osm_probes.judge.result import ProbeResult
from osm_probes.judge.transitions import TransitionLog

AT = datetime(2026, 1, 2, tzinfo=UTC)
WELL = ProbeResult("ready", (CheckResult("ads"), CheckResult("mesh")))
ILL = ProbeResult("ready", (CheckResult("ads"), CheckResult("mesh", "not synced yet")))


def told(*results: ProbeResult) -> list[Transition]:
    """What a record tells, with a second between each two rulings."""
    heard: list[Transition] = []
    now = 0.0
    record = TransitionLog(heard.append, clock=lambda: now, now=lambda: AT)
    for result in results:
        record.note(result)
        now += 1.0
    return heard


def test_a_fall_is_told_once_with_its_reason() -> None:
    fall = Transition(at=AT, probe="ready", healthy=False, check="mesh", reason="not synced yet", lasted=2.0)
    assert told(WELL, WELL, ILL, ILL, ILL) == [fall]


def test_a_recovery_is_told_once_with_how_long_it_lasted() -> None:
    assert told(ILL, ILL, ILL, WELL, WELL) == [Transition(at=AT, probe="ready", healthy=True, lasted=3.0)]


def test_the_first_ruling_is_no_change() -> None:
    assert told(ILL) == told(WELL) == []


def test_probes_fall_on_their_own() -> None:
    dead = ProbeResult("alive", (CheckResult("ads", "no beat for 16.0 s"),))
    alive = ProbeResult("alive", (CheckResult("ads"),))
    assert [each.probe for each in told(alive, WELL, dead, WELL)] == ["alive"]
