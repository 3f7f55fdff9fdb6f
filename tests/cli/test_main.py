"""The `osm` program itself: help, wrong arguments, a closed pipe."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_result import run_osm
from tests.functional.programs import run_to_exit

OSM = str(Path(sys.executable).with_name("osm"))


def test_without_a_command_osm_prints_its_help() -> None:
    result = run_osm()
    assert result.status == 0
    assert "proxy" in result.out


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "command",
    [
        *("", "mesh", "mesh list", "namespace", "namespace list", "namespace add", "namespace remove"),
        *("namespace ignore", "probe", "verify", "verify control-plane", "doctor", "proxy", "proxy list"),
        *("proxy get", "proxy bootstrap", "support", "support bug-report", "version", "completion"),
    ],
)
def test_the_help_of_each_command_fits_the_terminal(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = run_osm(*command.split(), "--help")
    assert result.status == 0
    assert max(map(len, result.out.splitlines())) <= columns


def test_help_imports_no_heavy_modules() -> None:
    process = run_to_exit("python", ["-X", "importtime", OSM, "--help"])
    assert process.returncode == 0
    imported = process.stderr
    assert not any(name in imported for name in ("grpc", "envoy", "cryptography", "aiohttp", "structlog"))


def test_a_reader_that_closes_the_pipe_is_not_an_error() -> None:
    script = f"set -o pipefail; {OSM} completion bash | true"
    process = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=20)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ("mesh",),
        ("namespace", "add"),
        ("probe", "nobody"),
        ("proxy", "get", "certs", "a/../b"),
        ("namespace", "remove", "../x"),
        ("probe", "--osm-namespace", "a/b"),
        ("x",),
    ],
)
def test_wrong_arguments_exit_with_status_2_and_the_usage(words: tuple[str, ...]) -> None:
    process = subprocess.run([OSM, *words], capture_output=True, text=True, check=False, timeout=20)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("usage: osm")
