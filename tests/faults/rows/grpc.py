"""Rows: grpc itself is stuck or dead, while the event loop runs."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults import injected_code
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.rows.hang import hang
from tests.faults.testbed import FaultTestbed


def frozen(which: str, seconds: float) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Stop threads of grpc one by one, which no signal can do."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        process = testbed.start_process("frozen_threads", testbed.pid, seconds, which)
        yield
        testbed.eventually(lambda: process.poll() is not None, what="the end of the stop", within=seconds)
        if process.returncode:
            raise FaultError(testbed.last_line("frozen_threads.err"))

    return action


@contextlib.contextmanager
def dead_accept_loop(testbed: FaultTestbed) -> Iterator[None]:
    """Cancel the task in which grpc accepts calls, and later ask the program to stop."""
    testbed.execute(injected_code.CANCEL_ACCEPT_LOOP)
    yield
    testbed.kill(testbed.pid, signal.SIGTERM)
    testbed.until_ended(within=25)
    if "Traceback" in (testbed.folder / "program.log").read_text():
        raise FaultError("the program ended with a traceback")


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    long = mode.heartbeat_limit + 10.0
    return (
        Row(
            "frozen-poller", f"grpc's poller thread stopped for {long:g} s", frozen("poller", long), hang(mode, long),
            duration=long,
        ),
        Row(
            "frozen-event-engine", f"all threads of grpc's event engine stopped for {long:g} s",
            frozen("event-engine", long), hang(mode, long), duration=long,
        ),
        Row(
            "accept-loop-cancelled", "grpc's task that accepts calls is cancelled; later SIGTERM", dead_accept_loop,
            Expectation(Truth.FAILS, Alive.FALLS, falls_within=mode.fall, recovers_within=None, ends=0),
            duration=mode.heartbeat_limit + 4.0,
        ),
    )  # fmt: skip
