"""Debian packages -> the root of a base image, for machines that reach no container registry. Root and mmdebstrap."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

_SOURCES: Final = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_BUILD_WITHIN: Final = 900.0
_WITHOUT: Final = [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "info", "locale", "man")]
_OPTIONS: Final = [
    *("--quiet", "--variant=minbase", *_WITHOUT, "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
    # Else /lib and /bin are made links by the package usrmerge, which brings 55 MB of Perl.
    "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
    # Nothing of this machine's set-up stays in the image.
    '--customize-hook=rm -rf "$1"/etc/apt/sources.list* "$1"/var/cache/apt "$1"/var/lib/apt/lists "$1"/var/log/*',
]


class NoDebianError(Exception):
    """A base cannot be made here; the message says why, in one line."""


def recipe(packages: Sequence[str]) -> str:
    """A name for what `make_root` makes."""
    return sha256(" ".join([*_OPTIONS, *packages]).encode()).hexdigest()[:12]


def make_root(packages: Sequence[str], *, file: Path) -> None:
    """Write a Debian root, of this machine's release, with these packages to `file`, a tar. Raises NoDebianError."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        raise NoDebianError("Debian packages make a base image only for root with mmdebstrap")
    sources = next((each for each in _SOURCES if each.exists() and each.read_text().strip()), None)
    if sources is None or not (suite := _release()):
        raise NoDebianError("this machine is no Debian, whose packages could make a base image")
    command = ["mmdebstrap", *_OPTIONS, f"--include={','.join(packages)}", suite, str(file), str(sources)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_WITHIN, check=False)
    except subprocess.TimeoutExpired:
        raise NoDebianError(f"mmdebstrap took more than {_BUILD_WITHIN:g} s") from None
    if done.returncode:
        raise NoDebianError(f"mmdebstrap: {' | '.join(done.stderr.strip().splitlines()[-3:])}")


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    said = dict(line.replace('"', "").split("=", 1) for line in lines if "=" in line)
    return said.get("VERSION_CODENAME", "") if said.get("ID") == "debian" else ""
