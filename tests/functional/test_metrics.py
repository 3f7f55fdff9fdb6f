"""docs/metrics.md against what running programs expose."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.functional.programs import running
from tests.judge.test_metrics import samples
from tests.standin import until

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(osm_\w+)` \| (\w+) \| ([^|]*)\| (controller|injector|both) \| (program|judge) \| (.*) \|$")


@dataclass(frozen=True)
class Family:
    kind: str
    meaning: str


def documented(program: str) -> tuple[dict[str, Family], dict[str, set[str]]]:
    """The families of this program, and their labels."""
    rows = [found.groups() for line in DOCUMENT.read_text().splitlines() if (found := ROW.match(line))]
    mine = [row for row in rows if row[3] in (program, "both")]
    families = {name: Family(kind, meaning) for name, kind, _, _, _, meaning in mine}
    return families, {row[0]: set(re.findall(r"`(\w+)`", row[2])) for row in mine}


def exposed(text: str) -> dict[str, Family]:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    return {name: Family(kinds[name], said) for name, said in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)}


def labels(text: str) -> dict[str, set[str]]:
    """The labels of each family that has samples."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    return found


@pytest.mark.parametrize("program", ["controller", "injector"])
def test_the_table_is_what_a_running_program_exposes(tmp_path: Path, program: str) -> None:
    with running(f"osm-{program}", tmp_path) as process:
        process.until_ready()
        text = process.get("/metrics")
        families, its_labels = documented(program)
        assert exposed(text) == families
        for name, found in labels(text).items():
            assert (name, found) == (name, its_labels[name])


@pytest.mark.parametrize(("program", "kinds"), [("controller", "root ads canary"), ("injector", "root webhook")])
def test_the_judge_s_families_and_the_expiries_survive_a_stopped_program(
    tmp_path: Path, program: str, kinds: str
) -> None:
    with running(f"osm-{program}", tmp_path, "--heartbeat-limit=1s") as process:
        process.until_ready()
        # Whether the judge was there before the program first served decides if that counts.
        assert process.get("/health/alive") == "Service is alive"
        before = samples(process.get("/metrics"))["osm_health_transitions_total,alive"]
        process.process.send_signal(signal.SIGSTOP)
        until(lambda: "not alive" in process.get("/health/alive"), within=5)
        text = process.get("/metrics")
        found = samples(text)
        assert found["osm_program_up"] == 0
        for kind in kinds.split():
            assert found[f"osm_certificate_expiry_seconds,{kind}"] > 3600
        assert found["osm_health_transitions_total,alive"] == before + 1
        process.process.send_signal(signal.SIGCONT)
        until(lambda: process.get("/health/alive") == "Service is alive", within=5)
        lag = samples(process.get("/metrics"))
        assert lag["osm_event_loop_lag_seconds_sum"] > 1  # the stop is one late beat
        assert lag["osm_health_transitions_total,alive"] == before + 2
