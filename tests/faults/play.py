"""A row -> its result: set up, start, watch, inject, heal, wait for recovery, judge."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from demo.errors import DemoError
from tests.faults.compare import RowResult, compare
from tests.faults.row import FaultError, Mode, Row
from tests.faults.stage import Stage, stage
from tests.faults.timeline import Timeline
from tests.kubernetes.apiserver import ApiServerError

_CALM = 2.5
"""Seconds of watching before a fault and after its recovery: more than the margin of a comparison."""
_END_LIMIT = 25.0


def play(row: Row, mode: Mode, *, stop: threading.Event, keep: Path | None = None) -> RowResult:
    """Run one row. Raises InterruptedRowError when `stop` is set; everything is taken away in any case."""
    try:
        with stage(row, mode, stop=stop, keep=keep) as place:
            return compare(_played(row, place), row.expect)
    except (FaultError, ApiServerError, DemoError, OSError) as error:
        return RowResult("?", "?", "?", None, None, (), (f"the row could not be played: {error}",))


def _played(row: Row, place: Stage) -> Timeline:
    place.make_ca()
    with row.setup(place):
        if row.at_start:
            place.watch()
            place.hold(_CALM)
        else:
            place.start()
            place.watch()
            place.eventually(place.all_well, what="all well before the fault")
            place.hold(_CALM)
        injected, healed = _inject(row, place)
        _aftermath(row, place, healed)
        place.hold(_CALM)
        return Timeline(
            place.samples(), place.probes(), injected, healed,
            ended=place.ended_at, exit_status=place.status, broken=tuple(place.broken),
        )  # fmt: skip


def _inject(row: Row, place: Stage) -> tuple[float, float]:
    """The moments at which the fault began and was over."""
    injected = time.monotonic()
    with _noting(place), _starting(row, place) if row.at_start else row.fault(place):
        place.hold(row.lasts)
    return injected, time.monotonic()


@contextlib.contextmanager
def _starting(row: Row, place: Stage) -> Iterator[None]:
    with row.fault(place):
        if not place.started:
            place.start()
        yield


@contextlib.contextmanager
def _noting(place: Stage) -> Iterator[None]:
    """What a fault finds wrong is the row's finding, not its end: the rest is measured all the same."""
    try:
        yield
    except (FaultError, ApiServerError) as error:
        place.broken.append(str(error))


def _aftermath(row: Row, place: Stage, healed: float) -> None:
    """Wait for the end or for the recovery that is expected, not longer than it may take."""
    expect = row.expect
    if expect.ends is not None:
        place.until_ended(within=_END_LIMIT)
    elif expect.recovers_within is not None:
        while time.monotonic() < healed + expect.recovers_within and not place.all_well() and place.status is None:
            place.hold(0.2)
