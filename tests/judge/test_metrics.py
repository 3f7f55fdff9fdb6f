from datetime import UTC, datetime, timedelta

from osm_probes.health.checks import CheckResult
from osm_probes.health.messages import Transition
from osm_probes.judge.metrics import JudgeMetrics
from osm_probes.judge.result import ProbeResult
from tests.metric_samples import samples


def test_each_check_is_1_or_0() -> None:
    metrics = JudgeMetrics()
    metrics.observe(ProbeResult("ready", (CheckResult("ads"), CheckResult("mesh", "not synced"))))
    metrics.observe(ProbeResult("alive", (CheckResult("ads"),), responds=False))
    found = samples(metrics.text("", expiries={}))
    assert found["osm_health_check,ads,ready"] == 1
    assert found["osm_health_check,mesh,ready"] == 0
    assert found["osm_health_check,ads,alive"] == 0


def test_requests_are_counted_by_path_and_code() -> None:
    metrics = JudgeMetrics()
    for _ in range(3):
        metrics.count_request("/health/alive", "200")
    assert samples(metrics.text("", expiries={}))["osm_probe_requests_total,/health/alive,200"] == 3


def test_the_programs_metrics_come_first_and_both_texts_make_one() -> None:
    found = samples(JudgeMetrics().text("# TYPE osm_x gauge\nosm_x 7\n", expiries={}))
    assert (found["osm_x"], found["osm_program_up"]) == (7, 1)


def test_a_silent_program_is_down() -> None:
    assert samples(JudgeMetrics().text(None, expiries={}))["osm_program_up"] == 0


def test_transitions_are_counted_by_probe_from_0_on() -> None:
    metrics = JudgeMetrics()
    metrics.count_transition(Transition(at=datetime(2026, 1, 2, tzinfo=UTC), probe="ready", healthy=False))
    found = samples(metrics.text("", expiries={}))
    assert found["osm_health_transitions_total,ready"] == 1
    assert found["osm_health_transitions_total,alive"] == 0


def test_only_the_checks_of_readiness_are_timed() -> None:
    metrics = JudgeMetrics()
    metrics.observe(ProbeResult("ready", (CheckResult("ads", took=0.03),)))
    metrics.observe(ProbeResult("alive", (CheckResult("ads"),)))
    found = samples(metrics.text("", expiries={}))
    assert found["osm_health_check_duration_seconds_count,ads"] == 1
    assert found["osm_health_check_duration_seconds_sum,ads"] == 0.03


def test_the_seconds_until_a_certificate_expires_are_negative_afterwards() -> None:
    now = datetime.now(UTC)
    expiries = {"ads": now + timedelta(hours=1), "root": now - timedelta(hours=1)}
    found = samples(JudgeMetrics().text(None, expiries=expiries))
    assert 3590 < found["osm_certificate_expiry_seconds,ads"] <= 3600
    assert -3610 < found["osm_certificate_expiry_seconds,root"] <= -3600
