import pytest

from osm_probes.health.checks import CheckResult
from osm_probes.health.heartbeat import HeartbeatReading
from osm_probes.health.lifecycle import Phase
from osm_probes.judge.result import Life, ProbeResult, leaving, life, refusal

LIMIT = 15.0
FRESH, STALE = 0.5, 15.5
NO_RESPONSE, OK, NO = Life.UNBORN, Life.ALIVE, Life.DEAD

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


@pytest.mark.parametrize(("phase", "served", "age", "alive", "asked"), TABLE)
def test_the_contract_s_table_holds(*, phase: Phase, served: bool, age: float, alive: Life, asked: bool) -> None:
    reading = HeartbeatReading(age, phase, served)
    assert life(reading, heartbeat_limit=LIMIT) is alive
    assert (not refusal(reading, heartbeat_limit=LIMIT) and not leaving(reading)) is asked


def test_a_beat_as_old_as_the_limit_is_fresh() -> None:
    assert life(HeartbeatReading(LIMIT, Phase.SERVING, has_served=True), heartbeat_limit=LIMIT) is Life.ALIVE


def test_the_first_check_that_says_no_is_the_culprit() -> None:
    result = ProbeResult(
        "ready", (CheckResult("ads"), CheckResult("mesh", "not synced"), CheckResult("capacity", "full"))
    )
    assert (result.healthy, result.status, result.culprit.name) == (False, 503, "mesh")


def test_what_does_not_respond_is_not_healthy() -> None:
    assert not ProbeResult("alive", (CheckResult("ads"),), responds=False).healthy
