"""Rows: requested shutdowns."""

import contextlib
import signal
from collections.abc import Iterator

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Action, Mode, Row
from tests.faults.testbed import FaultTestbed

_GRACE = 20.0


@contextlib.contextmanager
def streams(testbed: FaultTestbed) -> Iterator[None]:
    """Send SIGTERM while 100 proxies have open streams."""
    with testbed.load("hold", 100):
        testbed.kill(testbed.pid, signal.SIGTERM)
        testbed.until_ended(within=_GRACE)
        yield


@contextlib.contextmanager
def at_once(testbed: FaultTestbed) -> Iterator[None]:
    """Send SIGTERM as soon as the probe port listens."""
    testbed.start()
    testbed.eventually(lambda: "9091" in testbed.run("ss", "-Hltn"), what="the probes' port", within=10)
    testbed.kill(testbed.pid, signal.SIGTERM)
    testbed.until_ended(within=2)
    yield


def signalled(number: signal.Signals) -> Action:
    """Send a signal."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        testbed.kill(testbed.pid, number)
        yield

    return action


@contextlib.contextmanager
def twice(testbed: FaultTestbed) -> Iterator[None]:
    """Send SIGTERM twice, a second apart."""
    testbed.kill(testbed.pid, signal.SIGTERM)
    testbed.hold(1.0)
    testbed.kill(testbed.pid, signal.SIGTERM)
    testbed.until_ended(within=2)
    yield


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    return (
        Row(
            "sigterm-100-streams", "SIGTERM with 100 open streams", streams,
            Expectation(Truth.EITHER, Alive.STAYS, ends=0, drains=True), duration=1.0,
        ),
        Row(
            "sigterm-at-start", "SIGTERM during the start", at_once,
            Expectation(Truth.FAILS, Alive.SILENT, ends=0), at_start=True, duration=1.0,
        ),
        Row(
            "sigterm-twice", "two SIGTERMs, 1 s apart", twice,
            Expectation(Truth.EITHER, Alive.STAYS, ends=128 + signal.SIGTERM, drains=True), duration=1.0,
        ),
        Row(
            "sighup", "SIGHUP, as when the terminal is closed", signalled(signal.SIGHUP),
            Expectation(Truth.EITHER, Alive.STAYS, ends=0, drains=True), duration=1.0,
        ),
        Row("sigusr2", "SIGUSR2", signalled(signal.SIGUSR2), Expectation(Truth.HOLDS, Alive.STAYS), duration=3.0),
    )  # fmt: skip
