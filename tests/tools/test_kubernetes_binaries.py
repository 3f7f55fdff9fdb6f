"""The tool builds an API server once, or explains why it cannot. The compiler is a fake, as a build takes minutes."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = """#!/bin/sh
[ "$1" = list ] && { echo v1.34.4; exit; }
echo "$*" >> "$BUILDS"
while [ "$1" != -o ]; do shift; done
sleep 0.2
echo half > "$2"
[ -z "$FAILS" ] || { printf 'first\\nno space left\\n' >&2; exit 1; }
chmod +x "$2"
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with a compiler and nothing built."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "go").write_text(COMPILER)
    (programs / "go").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return {"PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache"), "BUILDS": str(tmp_path / "builds")}


def start(environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tools.kubernetes_binaries"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=dict(environment), text=True, stdout=pipe, stderr=pipe)


def run_tool(environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Run the tool. Returns its exit status, its standard output, and its last line on standard error."""
    process = start(environment)
    out, err = process.communicate(timeout=20)
    return process.returncode, out.strip(), err.strip().rpartition("\n")[2]


def test_a_given_folder_is_used(tmp_path: Path, machine: dict[str, str]) -> None:
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch(0o755)
    assert run_tool(machine | {"KUBEBUILDER_ASSETS": str(tmp_path)})[:2] == (0, str(tmp_path))


def test_a_given_folder_without_a_program_is_refused(tmp_path: Path, machine: dict[str, str]) -> None:
    (tmp_path / "etcd").touch(0o755)
    message = f"KUBEBUILDER_ASSETS={tmp_path} has no kube-apiserver"
    assert run_tool(machine | {"KUBEBUILDER_ASSETS": str(tmp_path)}) == (1, "", message)


def test_without_go_the_error_explains_what_is_missing(machine: dict[str, str]) -> None:
    status, _, message = run_tool(machine | {"PATH": "/nowhere"})
    assert (status, message) == (1, "building an API server needs Go: install Go, or set KUBEBUILDER_ASSETS")


def test_an_unwritable_cache_folder_is_an_error(tmp_path: Path, machine: dict[str, str]) -> None:
    (tmp_path / "cache").write_text("a file")
    status, _, message = run_tool(machine)
    assert (status, message.rpartition(": ")[2]) == (1, "Not a directory")


def test_a_failed_build_prints_the_compilers_last_line_and_leaves_no_program(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    assert run_tool(machine | {"FAILS": "1"}) == (1, "", "go build: no space left")
    assert not [*tmp_path.glob("cache/*/*/etcd"), *tmp_path.glob("cache/*/*/kube-apiserver")]


def test_concurrent_runs_build_each_program_only_once(tmp_path: Path, machine: dict[str, str]) -> None:
    processes = [start(machine) for _ in range(2)]
    folders = {process.communicate(timeout=20)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    (folder,) = folders
    assert {"etcd", "kube-apiserver"} <= {path.name for path in Path(folder).iterdir()}
    assert len((tmp_path / "builds").read_text().splitlines()) == 2
