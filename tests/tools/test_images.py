"""Whatever builds images here is used, and what this machine needs for that stays a secret; builders are stand-ins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.images import IMAGES, ROOT

# It notes how it was called, and works unless it is told otherwise.
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
    kept = {name: value for name, value in os.environ.items() if "PIP" not in name and "SSL" not in name}
    return {**kept, "PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"), "BROKEN": ""}


def made(environment: dict[str, str]) -> tuple[int, str, list[list[str]]]:
    """Exit status, the last line of standard error, and the words of each call of a builder."""
    command = [sys.executable, "-m", "tools.images"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    calls = Path(environment["CALLS"])
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done.returncode, done.stderr.strip().rpartition("\n")[2], [line.split() for line in lines]


@pytest.mark.parametrize(
    ("broken", "used"), [("", "buildah"), ("buildah", "podman"), ("buildah podman", "docker")], ids=lambda text: text
)
def test_the_first_builder_that_works_builds_all_images(machine: dict[str, str], broken: str, used: str) -> None:
    status, _, calls = made(machine | {"BROKEN": broken})
    assert status == 0
    tags = [word for call in calls if call[:2] == [used, "build"] for word in call if word.startswith("--tag=")]
    assert tags == [f"--tag={image.tag}" for image in IMAGES]


def test_without_a_builder_one_line_says_so(machine: dict[str, str]) -> None:
    status, said, _ = made(machine | {"BROKEN": "buildah podman docker"})
    assert (status, said) == (1, "no buildah, podman or docker that works here")


def test_settings_of_pip_and_certificates_are_secrets_of_the_build(tmp_path: Path, machine: dict[str, str]) -> None:
    settings, bundle = tmp_path / "pip.conf", tmp_path / "bundle.pem"
    settings.write_text("[global]\nindex-url = an index of one's own\n")
    bundle.write_text("certificates\n")
    _, _, calls = made(machine | {"PIP_CONFIG_FILE": str(settings), "PIP_CERT": str(bundle)})
    builds = [call for call in calls if call[1] == "build"]
    for call in builds:
        named = [word for word in call if str(tmp_path) in word and "bin/" not in word]
        assert named == [f"--secret=id=pip_conf,src={settings}", f"--secret=id=ca_bundle,src={bundle}"]
    assert builds
