"""Debian packages -> the root file system of a base image, for machines without a container registry.

Needs root and mmdebstrap.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

_SOURCES: Final = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_BUILD_WITHIN: Final = 900.0
_WITHOUT: Final = [f"--dpkgopt=path-exclude=/usr/share/{directory}/*" for directory in ("doc", "info", "locale", "man")]
_OPTIONS: Final = [
    *("--quiet", "--variant=minbase", *_WITHOUT, "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
    # Without this hook the package usrmerge makes /lib and /bin links, and brings 55 MB of Perl.
    "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
    # The image keeps nothing of this machine's configuration.
    '--customize-hook=rm -rf "$1"/etc/apt/sources.list* "$1"/var/cache/apt "$1"/var/lib/apt/lists "$1"/var/log/*',
]


class NoDebianError(Exception):
    """A base image cannot be built on this machine; the message gives the reason in one line."""


def fingerprint(packages: Sequence[str]) -> str:
    """A short hash that identifies the result of `make_root` for these packages."""
    return sha256(" ".join([*_OPTIONS, *packages]).encode()).hexdigest()[:12]


def make_root(packages: Sequence[str], *, file: Path) -> None:
    """Write a root file system with these packages, of this machine's Debian release, to the tar archive `file`.

    Raises NoDebianError.
    """
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        raise NoDebianError("building a base image from Debian packages needs root and mmdebstrap")
    sources = next((path for path in _SOURCES if path.exists() and path.read_text().strip()), None)
    if sources is None or not (suite := _release()):
        raise NoDebianError("this machine does not run Debian, so it has no packages for a base image")
    command = ["mmdebstrap", *_OPTIONS, f"--include={','.join(packages)}", suite, str(file), str(sources)]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_WITHIN, check=False)
    except subprocess.TimeoutExpired:
        raise NoDebianError(f"mmdebstrap took more than {_BUILD_WITHIN:g} s") from None
    if process.returncode:
        raise NoDebianError(f"mmdebstrap: {' | '.join(process.stderr.strip().splitlines()[-3:])}")


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    fields = dict(line.replace('"', "").split("=", 1) for line in lines if "=" in line)
    return fields.get("VERSION_CODENAME", "") if fields.get("ID") == "debian" else ""
