"""Helm 3 makes of the chart what Helm 4 does, and refuses what it refuses."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.chart.render import CHART, MATRIX, NAMESPACE, Values, documents, objects
from tools.helm3 import helm3

pytestmark = [pytest.mark.helm, pytest.mark.helm3]
VERSIONS = [f"1.{minor}.0" for minor in range(29, 38)]


def helm(folder: Path, *arguments: str, values: Values) -> "subprocess.CompletedProcess[str]":
    """What Helm 3 says with these values."""
    (folder / "values.json").write_text(json.dumps(values))
    command = [str(helm3()), *arguments, "--values", str(folder / "values.json"), "--namespace", NAMESPACE]
    # With nothing of its user's.
    return subprocess.run(command, env={"HOME": str(folder)}, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_helm_3_renders_the_same_for_each_kubernetes(version: str, values: Values, tmp_path: Path) -> None:
    done = helm(tmp_path, "template", "osm", str(CHART), "--no-hooks", "--kube-version", version, values=values)
    assert done.returncode == 0, done.stderr
    mine = {(each["kind"], each["metadata"]["name"]): each for each in documents(done.stdout)}
    assert mine == {(each["kind"], each["metadata"]["name"]): each for each in objects(values)}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_helm_3_finds_nothing_to_say_about_it(values: Values, tmp_path: Path) -> None:
    done = helm(tmp_path, "lint", str(CHART), "--strict", "--kube-version", VERSIONS[-1], values=values)
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("[")] == [
        "[INFO] Chart.yaml: icon is recommended"
    ]


def test_helm_3_refuses_a_wrong_value_with_words(tmp_path: Path) -> None:
    wrong = {"controller": {"replicas": "two"}}
    done = helm(tmp_path, "template", str(CHART), "--kube-version", VERSIONS[-1], values=wrong)
    assert done.returncode == 1
    assert "at '/controller/replicas': got string, want integer" in done.stderr


def test_a_kubernetes_that_is_too_old_is_refused(tmp_path: Path) -> None:
    done = helm(tmp_path, "template", str(CHART), "--kube-version", "1.28.15", values={})
    assert done.returncode == 1
    assert "chart requires kubeVersion: >=1.29.0-0" in done.stderr
