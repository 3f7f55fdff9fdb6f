"""Threads of another process, stopped one by one with ptrace(2): a signal can stop only all of them.

Run as a program: `python -m tests.faults.frozen_threads PID SECONDS poller|event-engine`.
"""

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000
_EVENT_ENGINE = {"event_engine", "lifeguard", "grpc_global_tim"}
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


def main() -> None:
    """Stop the threads, wait, and let them go on."""
    pid, seconds, which = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    stopped = set[int]()
    # grpc starts another thread when one of its own does not come back.
    for _ in range(20):
        for thread in set(_threads(pid, which)) - stopped:
            _trace(_SEIZE, thread)
            _trace(_INTERRUPT, thread)
            os.waitpid(thread, _WALL)
            stopped.add(thread)
        time.sleep(0.01)
    if not stopped:
        raise SystemExit(f"process {pid} has no such threads")
    print("up", flush=True)
    time.sleep(seconds)
    for thread in stopped:
        _trace(_DETACH, thread)


def _trace(request: int, thread: int) -> None:
    if _LIBC.ptrace(request, thread, None, None):
        raise OSError(ctypes.get_errno(), f"ptrace request {request:#x} for thread {thread}")


def _threads(pid: int, which: str) -> Iterator[int]:
    process = Path(f"/proc/{pid}")
    own = (process / "comm").read_text()
    for task in process.glob("task/*"):
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            name = (task / "comm").read_text()
            # The only thread of the program, besides the main one, that waits for events of the kernel.
            poller = name == own and int(task.name) != pid and "epoll" in (task / "wchan").read_text()
            if poller if which == "poller" else name.strip() in _EVENT_ENGINE:
                yield int(task.name)


if __name__ == "__main__":
    main()
