"""Where there is no API server the tool says why; the compiler is a stand-in, since a real one takes minutes."""

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


def outcome(environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Exit status, standard output, the last line of standard error."""
    process = start(environment)
    out, err = process.communicate(timeout=20)
    return process.returncode, out.strip(), err.strip().rpartition("\n")[2]


def test_a_given_folder_is_used_as_it_is(tmp_path: Path, machine: dict[str, str]) -> None:
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch(0o755)
    assert outcome(machine | {"KUBEBUILDER_ASSETS": str(tmp_path)})[:2] == (0, str(tmp_path))


def test_a_given_folder_without_a_program_is_refused(tmp_path: Path, machine: dict[str, str]) -> None:
    (tmp_path / "etcd").touch(0o755)
    said = f"KUBEBUILDER_ASSETS={tmp_path} has no kube-apiserver"
    assert outcome(machine | {"KUBEBUILDER_ASSETS": str(tmp_path)}) == (1, "", said)


def test_without_go_nothing_is_built(machine: dict[str, str]) -> None:
    status, _, said = outcome(machine | {"PATH": "/nowhere"})
    assert (status, said) == (1, "no Go to build an API server with: install it, or set KUBEBUILDER_ASSETS")


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, machine: dict[str, str]) -> None:
    (tmp_path / "cache").write_text("a file")
    status, _, said = outcome(machine)
    assert (status, said.rpartition(": ")[2]) == (1, "Not a directory")


def test_a_failed_build_says_its_last_line_and_leaves_no_program(tmp_path: Path, machine: dict[str, str]) -> None:
    assert outcome(machine | {"FAILS": "1"}) == (1, "", "go build: no space left")
    assert not [*tmp_path.glob("cache/*/*/etcd"), *tmp_path.glob("cache/*/*/kube-apiserver")]


def test_of_two_builds_at_once_one_waits_for_the_other(tmp_path: Path, machine: dict[str, str]) -> None:
    both = [start(machine) for _ in range(2)]
    folders = {each.communicate(timeout=20)[0].strip() for each in both}
    assert [each.returncode for each in both] == [0, 0]
    (folder,) = folders
    assert {"etcd", "kube-apiserver"} <= {each.name for each in Path(folder).iterdir()}
    assert len((tmp_path / "builds").read_text().splitlines()) == 2
