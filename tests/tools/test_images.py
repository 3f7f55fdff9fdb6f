"""`make image` uses an available builder and passes pip's settings as build secrets. The builders are fakes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.images import IMAGES, ROOT, Image

# A fake builder: it records its arguments, and succeeds unless its name is in $BROKEN.
BUILDER = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$BROKEN" in *"$(basename "$0")"*) exit 1;; esac
for word; do case $word in docker-archive:*) file=${word#*:}; : >"${file%%:*}";; esac; done
[ "$1" = save ] && : >"$3"
exit 0
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with all builders."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("buildah", "podman", "docker"):
        (programs / name).write_text(BUILDER)
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if "PIP" not in name and "SSL" not in name}
    return {**environment, "PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"), "BROKEN": ""}


def run_tool(environment: dict[str, str]) -> tuple[int, str, list[list[str]]]:
    """Run the tool. Returns its exit status, its last line on standard error, and the arguments of builder calls."""
    command = [sys.executable, "-m", "tools.images"]
    process = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    calls = Path(environment["CALLS"])
    lines = calls.read_text().splitlines() if calls.exists() else []
    return process.returncode, process.stderr.strip().rpartition("\n")[2], [line.split() for line in lines]


@pytest.mark.parametrize(
    ("broken", "used"), [("", "buildah"), ("buildah", "podman"), ("buildah podman", "docker")], ids=lambda text: text
)
def test_the_first_builder_that_works_builds_all_images(machine: dict[str, str], broken: str, used: str) -> None:
    status, _, calls = run_tool(machine | {"BROKEN": broken})
    assert status == 0
    tags = [word for call in calls if call[:2] == [used, "build"] for word in call if word.startswith("--tag=")]
    assert tags == [f"--tag={image.tag}" for image in IMAGES]


def test_without_a_builder_the_tool_exits_with_1_and_one_line(machine: dict[str, str]) -> None:
    status, message, _ = run_tool(machine | {"BROKEN": "buildah podman docker"})
    assert (status, message) == (1, "found no working buildah, podman or docker")


def builds(calls: list[list[str]]) -> list[list[str]]:
    """The builds of images, without those of SBOMs."""
    return [call for call in calls if call[1] == "build" and any(word.startswith("--tag=") for word in call)]


def test_the_base_is_that_of_the_dockerfile_also_with_a_digest(machine: dict[str, str], tmp_path: Path) -> None:
    pinned = f"python:3.13-slim@sha256:{'0' * 64}"
    (tmp_path / "Dockerfile").write_text(f"# a comment\nARG BASE_IMAGE={pinned}\nFROM ${{BASE_IMAGE}}\n")
    assert Image("any", str(tmp_path / "Dockerfile"), ()).base == pinned
    _, _, calls = run_tool(machine)
    bases = [word.partition("BASE_IMAGE=")[2] for call in builds(calls) for word in call if "BASE_IMAGE=" in word]
    assert bases == [image.base for image in IMAGES]


@pytest.mark.parametrize(
    ("broken", "flag"), [("", "--timestamp={}"), ("buildah podman", "--build-arg=SOURCE_DATE_EPOCH={}")]
)
def test_all_time_stamps_of_an_image_are_the_commits_time(machine: dict[str, str], broken: str, flag: str) -> None:
    environment = {name: value for name, value in machine.items() if name != "SOURCE_DATE_EPOCH"} | {"BROKEN": broken}
    command = ["git", "log", "-1", "--format=%ct"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    for variables, seconds in (({}, commit), ({"SOURCE_DATE_EPOCH": "1000"}, "1000")):
        Path(machine["CALLS"]).unlink(missing_ok=True)
        _, _, calls = run_tool(environment | variables)
        assert [flag.format(seconds) in call for call in builds(calls)] == [True, True]
    assert "--build-arg=CREATED=1970-01-01T00:16:40+00:00" in builds(calls)[0]


def test_only_an_image_with_a_health_check_has_dockers_format(machine: dict[str, str]) -> None:
    _, _, calls = run_tool(machine)
    found = [word for call in builds(calls) for word in call if word.startswith("--format=")]
    assert found == ["--format=docker", "--format=oci"]


def test_pips_settings_and_ca_certificates_are_passed_as_build_secrets(tmp_path: Path, machine: dict[str, str]) -> None:
    settings, bundle = tmp_path / "pip.conf", tmp_path / "bundle.pem"
    settings.write_text("[global]\nindex-url = an index of one's own\n")
    bundle.write_text("certificates\n")
    _, _, calls = run_tool(machine | {"PIP_CONFIG_FILE": str(settings), "PIP_CERT": str(bundle)})
    builds = [call for call in calls if call[1] == "build"]
    for call in builds:
        secrets = [word for word in call if str(tmp_path) in word and "bin/" not in word]
        assert secrets == [f"--secret=id=pip_conf,src={settings}", f"--secret=id=ca_bundle,src={bundle}"]
    assert builds
