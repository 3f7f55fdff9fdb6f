"""Rows: many clients at once. These rows run alone on the machine."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.testbed import HTTP_PORT, FaultTestbed

_SPINNING = 8
_GROWTH = 40_000
"""How many KB each process may grow by during 20,000 canary requests: 1 KB for each, plus fragmentation."""


def under(kind: str, *counts: int) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Load on the ADS port."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        with testbed.load(kind, *counts):
            yield

    return action


def busy(kind: str, *counts: int) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Load on the probes' port, while other processes take both processors."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        with contextlib.ExitStack() as opened:
            for _ in range(_SPINNING):
                opened.enter_context(testbed.load("spin"))
            opened.enter_context(testbed.load(kind, *counts, port=HTTP_PORT))
            yield

    return action


def many_canaries(count: int) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Send `count` canary requests; neither process may grow by more than the limit."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        before = [resident(pid) for pid in (testbed.pid, testbed.judge)]
        with testbed.load("canaries", count) as process:
            testbed.eventually(lambda: process.poll() is not None, what=f"{count} canary requests", within=600)
            if process.returncode:
                raise FaultError(testbed.last_line("load.log"))
        yield
        after = [resident(pid) for pid in (testbed.pid, testbed.judge)]
        for name, old, new in zip(("program", "judge"), before, after, strict=True):
            if new - old > _GROWTH:
                raise FaultError(f"the {name} grew from {old} to {new} KB during {count} canary requests")

    return action


def resident(pid: int) -> int:
    """A process's resident memory, in KB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    unsure = Expectation(Truth.EITHER, Alive.STAYS, recovers_within=20.0)
    idle, half, closed, unreading, storm, canaries = map(mode.count, (5000, 5000, 1000, 1000, 1000, 20_000))
    # The canary may take 3 s, so a ready that is not yet 200 may take longer than 2 s.
    alone = Expectation(Truth.EITHER, Alive.STAYS, recovers_within=20.0, alive_within=2.0)
    long = 300.0 if mode.divisor == 1 else 60.0
    crowds = (
        Row(
            "busy-new-connections", "300 new connections a second on 9091, and 8 other processes on both processors",
            busy("requests", 300), alone, load=True, duration=long,
        ),
        Row(
            "busy-idle-connections", f"{idle} idle connections to 9091, and 8 other processes on both processors",
            busy("idle", idle), alone, load=True, duration=20.0,
        ),
    )  # fmt: skip
    return crowds + tuple(
        Row(name, text, action, expect, load=True, duration=duration, extra_pods=max(unreading, storm))
        for name, text, action, expect, duration in (
            ("idle-connections", f"{idle} idle TCP connections", under("idle", idle), unsure, 10.0),
            ("half-open-tls", f"{half} half-open TLS handshakes", under("half-open", half), unsure, 10.0),
            (
                "closed-at-once", f"{closed} TCP connections opened and closed, ten times",
                under("closed-at-once", closed, 10), unharmed, 3.0,
            ),
            ("unreading-proxies", f"{unreading} proxies that never read", under("unreading", unreading), unsure, 15.0),
            ("storm", f"{storm} proxies reconnecting continuously", under("storm", storm), unsure, 15.0),
            ("failing-tls", "30 failing TLS handshakes per second", under("failing-tls", 30), unharmed, 10.0),
            ("canaries", f"{canaries} canary requests in a row", many_canaries(canaries), unharmed, 1.0),
        )
    )  # fmt: skip
