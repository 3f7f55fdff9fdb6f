"""Whether a child process makes progress, and which children of process 1 have ended: from /proc and wait(2)."""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

_SAMPLE_EVERY: Final = 0.4
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Progress:
    """Whether a silent process is slow and not stuck.

    cpu_limit: seconds of processor time, since this object was made, after which a silent process counts as stuck.
    """

    def __init__(self, pid: int, *, cpu_limit: float) -> None:
        self._pid = pid
        self._cpu_limit = cpu_limit
        self._first = self._last = cpu_seconds(pid)
        self._sampled_at = time.monotonic()
        self._made = True

    def made(self) -> bool:
        """Whether it has used processor time in the last half second, or only waits for a processor or its disk."""
        if time.monotonic() - self._sampled_at >= _SAMPLE_EVERY:
            before, self._last = self._last, cpu_seconds(self._pid)
            self._sampled_at = time.monotonic()
            self._made = self._last > before or is_runnable(self._pid)
        return self._made and self._last - self._first < self._cpu_limit


def is_runnable(pid: int) -> bool:
    """Whether a process would continue at once if it had a processor, or its disk answered."""
    return _stat(pid)[:1] in ([b"R"], [b"D"])


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on, which follows the command's name; empty if it has ended."""
    try:
        # proc_pid_stat(5): the name may contain anything.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def reap_orphans(*kept: int) -> None:
    """Reap the children that have ended, except `kept`: in process 1 orphans of other processes are among them."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in kept:
                return  # its owner reads its status; the others are reaped next time
            os.waitpid(ended.si_pid, os.WNOHANG)
