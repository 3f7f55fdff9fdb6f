"""A program that the demo started: its log, and its end."""

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
    """A running program. Its output is in the file `log`."""

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the demo alone, which then stops each part in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.running:
            os.kill(self._process.pid, number)

    def wait(self, *, within: float) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        return self._process.wait(within)

    def stop(self, *, grace: float = 5.0) -> None:
        """Ask it to end; after `grace` seconds end it."""
        self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(within=grace)
            return
        self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.send(signal.SIGKILL)
        self.wait(within=5)

    def last_line(self) -> str:
        """The end of its log, to say why it failed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote nothing"


@contextlib.contextmanager
def running(command: Sequence[str], *, log: Path) -> Iterator[Process]:
    """The program, while the block lasts."""
    process = Process(command, log=log)
    try:
        yield process
    finally:
        process.stop()


def eventually(question: Callable[[], T | None], *, what: str, within: float, process: Process | None = None) -> T:
    """The first true answer of `question`, asked every 20 ms. Raises DemoError: `what` did not come in time.

    A `process` that ends meanwhile ends the wait with the last line of its log.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if answer := question():
                return answer
        if process and not process.running:
            raise DemoError(f"{what}: the program ended: {process.last_line()}")
        time.sleep(0.02)
    raise DemoError(f"{what}: not within {within:g} s" + (f": {process.last_line()}" if process else ""))


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of this project's environment."""
    return [sys.executable, "-m", module, *map(str, arguments)]
