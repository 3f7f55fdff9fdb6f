"""docs/metrics.md lists exactly the metrics that running programs expose."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.functional.programs import running
from tests.metric_samples import samples
from tests.standin import until

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(osm_\w+)` \| (\w+) \| ([^|]*)\| (controller|injector|both) \| (program|judge) \| (.*) \|$")


@dataclass(frozen=True)
class Family:
    kind: str
    meaning: str


def documented(program: str) -> tuple[dict[str, Family], dict[str, set[str]]]:
    """The documented metric families of this program, and their labels."""
    all_rows = [match.groups() for line in DOCUMENT.read_text().splitlines() if (match := ROW.match(line))]
    rows = [row for row in all_rows if row[3] in (program, "both")]
    families = {name: Family(kind, meaning) for name, kind, _, _, _, meaning in rows}
    return families, {row[0]: set(re.findall(r"`(\w+)`", row[2])) for row in rows}


def exposed(text: str) -> dict[str, Family]:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    return {name: Family(kinds[name], help_) for name, help_ in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)}


def labels(text: str) -> dict[str, set[str]]:
    """The labels of each family that has samples."""
    result: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            result.setdefault(name, set()).update(set(sample.labels) - {"le"})
    return result


@pytest.mark.parametrize("program", ["controller", "injector"])
def test_the_documented_table_is_what_a_running_program_exposes(tmp_path: Path, program: str) -> None:
    with running(f"osm-{program}", tmp_path) as process:
        process.until_ready()
        text = process.get("/metrics")
        families, documented_labels = documented(program)
        assert exposed(text) == families
        for name, exposed_labels in labels(text).items():
            assert (name, exposed_labels) == (name, documented_labels[name])


@pytest.mark.parametrize(("program", "kinds"), [("controller", "root ads canary"), ("injector", "root webhook")])
def test_the_judges_metrics_and_the_certificate_expiries_are_served_while_the_program_is_stopped(
    tmp_path: Path, program: str, kinds: str
) -> None:
    with running(f"osm-{program}", tmp_path, "--heartbeat-limit=1s") as process:
        process.until_ready()
        # The first "alive" counts as a transition only if the judge ran before it, so count from here.
        assert process.get("/health/alive") == "Service is alive"
        before = samples(process.get("/metrics"))["osm_health_transitions_total,alive"]
        process.process.send_signal(signal.SIGSTOP)
        until(lambda: "not alive" in process.get("/health/alive"), within=5)
        text = process.get("/metrics")
        values = samples(text)
        assert values["osm_program_up"] == 0
        for kind in kinds.split():
            assert values[f"osm_certificate_expiry_seconds,{kind}"] > 3600
        assert values["osm_health_transitions_total,alive"] == before + 1
        process.process.send_signal(signal.SIGCONT)
        until(lambda: process.get("/health/alive") == "Service is alive", within=5)
        values = samples(process.get("/metrics"))
        assert values["osm_event_loop_lag_seconds_sum"] > 1  # the pause is one late heartbeat
        assert values["osm_health_transitions_total,alive"] == before + 2
