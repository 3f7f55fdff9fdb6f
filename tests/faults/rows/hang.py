"""Rows: the program is stopped, or its event loop is blocked."""

import contextlib
import signal
from collections.abc import Iterator

from tests.faults import injected_code
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Action, FaultError, Mode, Program, Row, executing
from tests.faults.testbed import FaultTestbed


@contextlib.contextmanager
def stopped(testbed: FaultTestbed) -> Iterator[None]:
    """Send SIGSTOP, and later SIGCONT."""
    testbed.kill(testbed.pid, signal.SIGSTOP)
    yield
    testbed.kill(testbed.pid, signal.SIGCONT)


def expecting_record(action: Action, field: str, *words: str) -> Action:
    """The action; afterwards the judge must have logged the hang exactly once, with these words in this field."""

    @contextlib.contextmanager
    def checked(testbed: FaultTestbed) -> Iterator[None]:
        with action(testbed):
            yield
        records = testbed.logged("the program hangs")
        if len(records) != 1:
            raise FaultError(f"the hang was logged {len(records)} times, expected once")
        if missing := [word for word in words if word not in str(records[0].get(field))]:
            raise FaultError(f"the log record of the hang lacks {', '.join(missing)} in {field}")

    return checked


def hang(mode: Mode, seconds: float) -> Expectation:
    """The expectation for a hang of this duration: liveness fails only if it is longer than the heartbeat limit."""
    if seconds > mode.heartbeat_limit + 1:
        return Expectation(Truth.FAILS, Alive.FALLS, falls_within=mode.fall)
    return Expectation(Truth.EITHER, Alive.STAYS)


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    long = mode.heartbeat_limit + 6.0
    asleep = expecting_record(executing(injected_code.block(long)), "stacks", "<string>", "asyncio")
    asleep_30 = expecting_record(executing(injected_code.block(30)), "stacks", "<string>", "asyncio")
    held = expecting_record(executing(injected_code.hold_gil(long)), "stacks", "<string>", "asyncio")
    paused = expecting_record(stopped, "no_stacks", "stopped")
    injector = Program.INJECTOR
    return (
        Row("sigstop", f"SIGSTOP, SIGCONT {long:g} s later", paused, hang(mode, long), duration=long),
        Row("sigstop-short", "SIGSTOP, SIGCONT 2 s later", stopped, hang(mode, 2.0), duration=2.0),
        Row(
            "blocked-0.5s", "event loop blocked for 0.5 s", executing(injected_code.block(0.5)), hang(mode, 0.5),
            duration=1.0,
        ),
        Row(
            "blocked-5s", "event loop blocked for 5 s", executing(injected_code.block(5)), hang(mode, 5.0),
            duration=5.0,
        ),
        Row("blocked-30s", "event loop blocked for 30 s", asleep_30, hang(mode, 30.0), duration=30.0),
        Row("gil-held", f"GIL held for {long:g} s", held, hang(mode, long), duration=long),
        Row(
            "injector-sigstop", f"SIGSTOP, SIGCONT {long:g} s later", paused, hang(mode, long), program=injector,
            duration=long,
        ),
        Row(
            "injector-blocked", f"event loop blocked for {long:g} s", asleep, hang(mode, long), program=injector,
            duration=long,
        ),
    )  # fmt: skip
