"""A node's part of each cgroup hierarchy (cgroup v1), below this process's own."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.e2e.errors import ClusterError

_ROOT: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
_INHERITED: Final = ("cpuset.cpus", "cpuset.mems")


def why_no_cgroups() -> str:
    """Why there can be no node here; empty if there can."""
    missing = [name for name in _CONTROLLERS if not (_ROOT / name).is_dir()]
    return f"the node of this test knows cgroup v1 alone, without it {missing[0]} is missing" if missing else ""


@contextlib.contextmanager
def cgroups(name: str) -> Iterator[list[Path]]:
    """One of this name in each hierarchy; all processes in them must have ended when the block does."""
    made = [_ROOT / controller / _own(controller).lstrip("/") / name for controller in _CONTROLLERS]
    try:
        for path in made:
            path.mkdir(exist_ok=True)  # cpu and cpuacct may be one
            for each in _INHERITED:
                if (path / each).exists():
                    (path / each).write_text((path.parent / each).read_text())
        yield made
    finally:
        _remove(made, within=20.0)


def remove_leftovers(name: str) -> None:
    """Remove the cgroups of a node that is gone, whoever made it."""
    for controller in _CONTROLLERS:
        _remove([_ROOT / controller / _own(controller).lstrip("/") / name], within=1.0)


def _own(controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.removeprefix("name=").split(","):
            return path
    raise ClusterError(f"this process is in no cgroup of {controller}")


def _remove(paths: Sequence[Path], *, within: float) -> None:
    end = time.monotonic() + within
    while left := [path for path in paths if path.exists()]:
        if time.monotonic() > end:
            raise ClusterError(f"cgroups stay behind: {', '.join(map(str, left))}")
        for path in left:
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):  # processes in it are still ending
                    Path(folder).rmdir()
        time.sleep(0.05)
