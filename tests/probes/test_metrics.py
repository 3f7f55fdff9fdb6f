from prometheus_client.parser import text_string_to_metric_families

from osm_probes.health.checks import Report
from osm_probes.probes.metrics import JudgeMetrics
from osm_probes.probes.verdict import Ruling


def samples(text: str) -> dict[str, float]:
    return {
        ",".join([sample.name, *sorted(sample.labels.values())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_each_check_is_1_or_0() -> None:
    metrics = JudgeMetrics()
    metrics.ruled(Ruling("ready", (Report("ads"), Report("mesh", "not synced"))))
    metrics.ruled(Ruling("alive", (Report("ads"),), responds=False))
    found = samples(metrics.text(""))
    assert found["osm_health_check,ads,ready"] == 1
    assert found["osm_health_check,mesh,ready"] == 0
    assert found["osm_health_check,ads,alive"] == 0


def test_requests_are_counted_by_path_and_code() -> None:
    metrics = JudgeMetrics()
    for _ in range(3):
        metrics.answered("/health/alive", "200")
    assert samples(metrics.text(""))["osm_probe_requests_total,/health/alive,200"] == 3


def test_the_program_s_text_comes_first_and_both_make_one() -> None:
    found = samples(JudgeMetrics().text("# TYPE osm_x gauge\nosm_x 7\n"))
    assert (found["osm_x"], found["osm_program_up"]) == (7, 1)


def test_a_silent_program_is_down() -> None:
    assert samples(JudgeMetrics().text(None))["osm_program_up"] == 0
