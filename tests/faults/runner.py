"""A row -> its result: set up, start, observe, inject the fault, end it, wait for the recovery, compare."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from demo.errors import DemoError
from tests.faults.compare import RowResult, compare
from tests.faults.row import FaultError, Mode, Row
from tests.faults.testbed import FaultTestbed, running_testbed
from tests.faults.timeline import Timeline
from tests.kubernetes.apiserver import ApiServerError

_OBSERVE = 2.5
"""Seconds of observation before a fault and after the recovery: longer than the margin of the comparison."""
_END_LIMIT = 25.0


def run_row(row: Row, mode: Mode, *, stop: threading.Event, keep: Path | None = None) -> RowResult:
    """Run one row; everything is removed in any case. Raises InterruptedRowError when `stop` is set."""
    try:
        with running_testbed(row, mode, stop=stop, keep=keep) as testbed:
            return compare(_run(row, testbed), row.expect)
    except (FaultError, ApiServerError, DemoError, OSError) as error:
        return RowResult("?", "?", "?", None, None, (), (f"the row could not be run: {error}",))


def _run(row: Row, testbed: FaultTestbed) -> Timeline:
    testbed.make_ca()
    with row.setup(testbed):
        if row.at_start:
            testbed.watch()
            testbed.hold(_OBSERVE)
        else:
            testbed.start()
            testbed.watch()
            testbed.eventually(testbed.all_healthy, what="all probes succeed before the fault")
            testbed.hold(_OBSERVE)
        injected, healed = _inject(row, testbed)
        _aftermath(row, testbed, healed)
        testbed.hold(_OBSERVE)
        return Timeline(
            testbed.samples(), testbed.probes(), injected, healed,
            ended=testbed.ended_at, exit_status=testbed.status, problems=tuple(testbed.problems),
        )  # fmt: skip


def _inject(row: Row, testbed: FaultTestbed) -> tuple[float, float]:
    """Inject the fault and end it. Returns the times of both."""
    injected = time.monotonic()
    with _recording_problems(testbed), _start_during_fault(row, testbed) if row.at_start else row.fault(testbed):
        testbed.hold(row.duration)
    return injected, time.monotonic()


@contextlib.contextmanager
def _start_during_fault(row: Row, testbed: FaultTestbed) -> Iterator[None]:
    with row.fault(testbed):
        if not testbed.started:
            testbed.start()
        yield


@contextlib.contextmanager
def _recording_problems(testbed: FaultTestbed) -> Iterator[None]:
    """Record an error of the fault as a problem of the row; the row continues, so that the rest is measured."""
    try:
        yield
    except (FaultError, ApiServerError) as error:
        testbed.problems.append(str(error))


def _aftermath(row: Row, testbed: FaultTestbed, healed: float) -> None:
    """Wait for the expected exit or recovery, at most as long as it may take."""
    expect = row.expect
    if expect.ends is not None:
        testbed.until_ended(within=_END_LIMIT)
    elif expect.recovers_within is not None:
        while (
            time.monotonic() < healed + expect.recovers_within and not testbed.all_healthy() and testbed.status is None
        ):
            testbed.hold(0.2)
