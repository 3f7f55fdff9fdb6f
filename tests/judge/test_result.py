from osm_probes.health.checks import CheckResult
from osm_probes.judge.result import ProbeResult


def test_the_first_check_that_says_no_is_named() -> None:
    result = ProbeResult(
        "ready", (CheckResult("ads"), CheckResult("mesh", "not synced"), CheckResult("capacity", "full"))
    )
    assert (result.healthy, result.status, result.first_failure.name) == (False, 503, "mesh")


def test_a_program_that_does_not_respond_is_not_healthy() -> None:
    assert not ProbeResult("alive", (CheckResult("ads"),), responds=False).healthy
