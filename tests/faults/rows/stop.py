"""Stops that were asked for."""

import contextlib
import signal
from collections.abc import Iterator

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Mode, Row
from tests.faults.stage import Stage

_GRACE = 20.0


@contextlib.contextmanager
def streams(stage: Stage) -> Iterator[None]:
    """100 proxies with open streams; the program gets SIGTERM."""
    with stage.load("hold", 100):
        stage.kill(stage.pid, signal.SIGTERM)
        stage.until_ended(within=_GRACE)
        yield


@contextlib.contextmanager
def at_once(stage: Stage) -> Iterator[None]:
    """SIGTERM as soon as its probes' port listens."""
    stage.start()
    stage.eventually(lambda: "9091" in stage.run("ss", "-Hltn"), what="the probes' port", within=10)
    stage.kill(stage.pid, signal.SIGTERM)
    stage.until_ended(within=2)
    yield


@contextlib.contextmanager
def twice(stage: Stage) -> Iterator[None]:
    """SIGTERM, and a second later again."""
    stage.kill(stage.pid, signal.SIGTERM)
    stage.hold(1.0)
    stage.kill(stage.pid, signal.SIGTERM)
    stage.until_ended(within=2)
    yield


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    return (
        Row(
            "sigterm-100-streams", "SIGTERM with 100 open streams", streams,
            Expectation(Truth.EITHER, Alive.STAYS, ends=0, drains=True), lasts=1.0,
        ),
        Row(
            "sigterm-at-start", "SIGTERM during start", at_once,
            Expectation(Truth.FAILS, Alive.SILENT, ends=0), at_start=True, lasts=1.0,
        ),
        Row(
            "sigterm-twice", "two SIGTERMs, 1 s apart", twice,
            Expectation(Truth.EITHER, Alive.STAYS, ends=128 + signal.SIGTERM, drains=True), lasts=1.0,
        ),
    )  # fmt: skip
