"""Many clients at once, alone on the machine."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.stage import Stage

_GROWTH = 40_000
"""KB by which either process may grow in 20,000 canaries: 1 KB each, and what fragmentation takes."""


def under(kind: str, *counts: int) -> Callable[[Stage], AbstractContextManager[None]]:
    """A load on the ADS port."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        with stage.load(kind, *counts):
            yield

    return act


def many_canaries(count: int) -> Callable[[Stage], AbstractContextManager[None]]:
    """So many canaries, to their end; the memory of both processes is compared."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        before = [resident(pid) for pid in (stage.pid, stage.judge)]
        with stage.load("canaries", count) as process:
            stage.eventually(lambda: process.poll() is not None, what=f"{count} canaries", within=600)
            if process.returncode:
                raise FaultError(stage.last_line("load.log"))
        yield
        after = [resident(pid) for pid in (stage.pid, stage.judge)]
        for name, old, new in zip(("program", "judge"), before, after, strict=True):
            if new - old > _GROWTH:
                raise FaultError(f"the {name} grew from {old} to {new} KB in {count} canaries")

    return act


def resident(pid: int) -> int:
    """A process's resident memory in KB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    unsure = Expectation(Truth.EITHER, Alive.STAYS, recovers_within=20.0)
    idle, half, closed, deaf, storm, canaries = map(mode.count, (5000, 5000, 1000, 1000, 1000, 20_000))
    return tuple(
        Row(name, text, act, expect, load=True, lasts=lasts, crowd=max(deaf, storm))
        for name, text, act, expect, lasts in (
            ("idle-connections", f"{idle} idle TCP connections", under("idle", idle), unsure, 10.0),
            ("half-open-tls", f"{half} half-open TLS handshakes", under("half-open", half), unsure, 10.0),
            (
                "closed-at-once", f"{closed} TCP connections closed at once, ten times",
                under("closed-at-once", closed, 10), unharmed, 3.0,
            ),
            ("deaf-proxies", f"{deaf} proxies that never read", under("deaf", deaf), unsure, 15.0),
            ("storm", f"{storm} proxies reconnect on end", under("storm", storm), unsure, 15.0),
            ("failing-tls", "30 clients a second fail TLS", under("failing-tls", 30), unharmed, 10.0),
            ("canaries", f"{canaries} canaries on end", many_canaries(canaries), unharmed, 1.0),
        )
    )  # fmt: skip
