"""The node's cgroups: one in each cgroup v1 hierarchy, below this process's own cgroup."""

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


def cgroup_problem() -> str:
    """The reason why there can be no node on this machine; empty if there can."""
    missing = [name for name in _CONTROLLERS if not (_ROOT / name).is_dir()]
    return f"the test's node needs cgroup v1, and the controller {missing[0]} is missing" if missing else ""


@contextlib.contextmanager
def cgroups(name: str) -> Iterator[list[Path]]:
    """A cgroup with this name in each hierarchy. All its processes must have exited when the block ends."""
    paths = [_ROOT / controller / _own(controller).lstrip("/") / name for controller in _CONTROLLERS]
    try:
        for path in paths:
            path.mkdir(exist_ok=True)  # cpu and cpuacct may be the same hierarchy
            for setting in _INHERITED:
                if (path / setting).exists():
                    (path / setting).write_text((path.parent / setting).read_text())
        yield paths
    finally:
        _remove(paths, within=20.0)


def remove_leftovers(name: str) -> None:
    """Remove the cgroups of a node whose process was killed."""
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
            raise ClusterError(f"cannot remove cgroups: {', '.join(map(str, left))}")
        for path in left:
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):  # its processes are still exiting
                    Path(folder).rmdir()
        time.sleep(0.05)
