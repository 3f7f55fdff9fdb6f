"""The threads of grpc -> whether they have all the work that they can do, so that an answer may come late."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_TASKS: Final = Path("/proc/self/task")
_NAME: Final = "event_engine"
_SATURATED: Final = 0.9


class GrpcThreads:
    """The threads in which grpc accepts connections, and does TLS and HTTP/2.

    A thread that is stopped or waits for a lock neither runs nor wants to. The kernel's counters tell the difference,
    also under a CPU quota: https://docs.kernel.org/scheduler/sched-stats.html (schedstat of a task).
    """

    def __init__(self, *, tasks: Path = _TASKS, clock: Callable[[], float] = time.monotonic) -> None:
        self._tasks = tasks
        self._clock = clock
        self._looked_at = clock()
        self._last = self._read()

    def saturated(self) -> bool:
        """Whether they ran, or waited for a processor, all the time since the last look. False if that is unknown."""
        before, then = self._last, self._looked_at
        self._last, self._looked_at = self._read(), self._clock()
        wanted = sum(max(0, nanoseconds - before.get(thread, 0)) for thread, nanoseconds in self._last.items())
        return wanted >= _SATURATED * (self._looked_at - then) * 1e9

    def _read(self) -> dict[str, int]:
        """The time that each thread ran or waited for a processor, in ns."""
        found = {}
        try:
            for thread in self._tasks.iterdir():
                if (thread / "comm").read_text().strip() == _NAME:
                    ran, waited, _ = (thread / "schedstat").read_text().split()
                    found[thread.name] = int(ran) + int(waited)
        except (OSError, ValueError):
            return {}  # a thread has ended meanwhile, there is no free file descriptor, or the kernel does not count
        return found
