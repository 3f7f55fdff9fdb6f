from osm_probes.health.checks import CheckResult
from osm_probes.judge.result import ProbeResult


def test_the_first_check_that_says_no_is_named() -> None:
    result = ProbeResult(
        "ready", (CheckResult("ads"), CheckResult("mesh", "not synced"), CheckResult("capacity", "full"))
    )
    assert (result.healthy, result.status, result.first_failure.name) == (False, 503, "mesh")


def test_a_program_that_does_not_respond_is_not_healthy() -> None:
    assert not ProbeResult("alive", (CheckResult("ads"),), responds=False).healthy


def test_the_name_of_an_unknown_check_is_echoed_without_control_characters() -> None:
    result = ProbeResult("ready", (CheckResult("ads"),))
    text = result.verbose(excluded=["a\r\nb\x1b[31m\x00\u202e\ud800"], known=["ads"], ok="Service is ready")
    assert "warn: no check a  b [31m    to exclude" in text.splitlines()
    assert all(line.isprintable() for line in text.splitlines())
    assert text.encode()
