"""Helm 3 renders the same objects as Helm 4, and rejects the same values."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.chart.render import CHART, MATRIX, NAMESPACE, Values, documents, objects
from tools.helm3 import helm3

pytestmark = [pytest.mark.helm, pytest.mark.helm3]
VERSIONS = [f"1.{minor}.0" for minor in range(29, 38)]


def helm(folder: Path, *arguments: str, values: Values) -> "subprocess.CompletedProcess[str]":
    """Run Helm 3 with these values."""
    (folder / "values.json").write_text(json.dumps(values))
    command = [str(helm3()), *arguments, "--values", str(folder / "values.json"), "--namespace", NAMESPACE]
    # An environment without the user's Helm settings.
    return subprocess.run(command, env={"HOME": str(folder)}, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_helm_3_renders_the_same_objects_for_each_kubernetes_version(
    version: str, values: Values, tmp_path: Path
) -> None:
    result = helm(tmp_path, "template", "osm", str(CHART), "--no-hooks", "--kube-version", version, values=values)
    assert result.returncode == 0, result.stderr
    rendered = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in documents(result.stdout)}
    assert rendered == {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in objects(values)}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_helm_3s_linter_reports_no_problems(values: Values, tmp_path: Path) -> None:
    result = helm(tmp_path, "lint", str(CHART), "--strict", "--kube-version", VERSIONS[-1], values=values)
    assert result.returncode == 0, result.stdout
    assert [line for line in result.stdout.splitlines() if line.startswith("[")] == [
        "[INFO] Chart.yaml: icon is recommended"
    ]


def test_helm_3_rejects_an_invalid_value_with_an_explanation(tmp_path: Path) -> None:
    wrong = {"controller": {"replicas": "two"}}
    result = helm(tmp_path, "template", str(CHART), "--kube-version", VERSIONS[-1], values=wrong)
    assert result.returncode == 1
    assert "at '/controller/replicas': got string, want integer" in result.stderr


def test_a_kubernetes_version_that_is_too_old_is_rejected(tmp_path: Path) -> None:
    result = helm(tmp_path, "template", str(CHART), "--kube-version", "1.28.15", values={})
    assert result.returncode == 1
    assert "chart requires kubeVersion: >=1.29.0-0" in result.stderr
