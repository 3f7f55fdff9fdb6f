"""Processes -> a control group with a CPU quota or a memory limit (cgroup v1 or v2)."""

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.faults.row import FaultError

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000


@contextlib.contextmanager
def cpu_quota(pids: Iterable[int], *, percent: int) -> Iterator[None]:
    """Limit the processes together to `percent` of one CPU, for the duration of the block."""
    quota = _PERIOD * percent // 100
    with _group("cpu") as group:
        if _is_v2():
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        with _inside(pids, group):
            yield


@contextlib.contextmanager
def memory_limit(pids: Iterable[int], *, limit: int) -> Iterator[None]:
    """Limit the processes' further memory allocations to `limit` bytes; memory that they have now is not counted."""
    with _group("memory") as group:
        (group / ("memory.max" if _is_v2() else "memory.limit_in_bytes")).write_text(str(limit))
        with _inside(pids, group):
            yield


def _is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


@contextlib.contextmanager
def _group(controller: str) -> Iterator[Path]:
    parent = _ROOT if _is_v2() else _ROOT / controller
    group = parent / f"osm-faults-{secrets.token_hex(3)}"
    try:
        group.mkdir()
    except OSError as error:
        raise FaultError(f"cannot create a control group in {parent}: {error.strerror}") from error
    try:
        yield group
    finally:
        _remove(group)


@contextlib.contextmanager
def _inside(pids: Iterable[int], group: Path) -> Iterator[None]:
    for pid in pids:
        (group / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        for inside in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(inside)


def _remove(group: Path) -> None:
    # A process that has just exited is counted for a moment longer.
    for _ in range(20):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.05)
