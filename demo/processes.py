"""Child processes of the demo and of tests: start, signal, wait, stop, and read their logs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from demo.errors import DemoError

T = TypeVar("T")


class Process:
    """A child process, started when the object is created. Its output is appended to the file `log`."""

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            # A new session: Ctrl-C reaches only the demo, which then stops its processes in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """Whether the process has not exited."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal if the process is running."""
        if self.running:
            os.kill(self._process.pid, number)

    def wait(self, *, within: float) -> int:
        """Wait for the exit status. Raises subprocess.TimeoutExpired."""
        return self._process.wait(within)

    def stop(self, *, grace: float = 5.0) -> None:
        """Send SIGTERM, and SIGKILL if the process has not exited after `grace` seconds."""
        self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(within=grace)
            return
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait for the exit."""
        self.send(signal.SIGKILL)
        self.wait(within=5)

    def last_line(self) -> str:
        """The last line of the log, for error messages."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"


@contextlib.contextmanager
def running(command: Sequence[str], *, log: Path) -> Iterator[Process]:
    """A child process for the duration of the block."""
    process = Process(command, log=log)
    try:
        yield process
    finally:
        process.stop()


def eventually(condition: Callable[[], T | None], *, what: str, within: float, process: Process | None = None) -> T:
    """Evaluate `condition` every 20 ms and return its first true result; an OSError counts as false.

    Raises DemoError, which names `what`, after `within` seconds or as soon as `process` exits.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if result := condition():
                return result
        if process and not process.running:
            raise DemoError(f"{what}: the program exited: {process.last_line()}")
        time.sleep(0.02)
    raise DemoError(f"{what}: not within {within:g} s" + (f": {process.last_line()}" if process else ""))


def python(module: str, *arguments: object) -> list[str]:
    """The command line that runs a module with this Python interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]
