"""The program does not run, or its loop does not."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults import orders
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Act, FaultError, Mode, Program, Row
from tests.faults.stage import Stage


@contextlib.contextmanager
def stopped(stage: Stage) -> Iterator[None]:
    """SIGSTOP, then SIGCONT."""
    stage.kill(stage.pid, signal.SIGSTOP)
    yield
    stage.kill(stage.pid, signal.SIGCONT)


def ordered(code: str) -> Callable[[Stage], AbstractContextManager[None]]:
    """The program runs some code; it is over by itself."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        stage.order(code)
        yield

    return act


def recorded(act: Act, field: str, *words: str) -> Act:
    """The same, and the judge must have logged it once, with these words in this field."""

    @contextlib.contextmanager
    def asking(stage: Stage) -> Iterator[None]:
        with act(stage):
            yield
        records = stage.logged("the program hangs")
        if len(records) != 1:
            raise FaultError(f"the hang was logged {len(records)} times and not once")
        if missing := [word for word in words if word not in str(records[0].get(field))]:
            raise FaultError(f"the record of the hang lacks {', '.join(missing)} in {field}")

    return asking


def hang(mode: Mode, seconds: float) -> Expectation:
    """Of a hang so long: alive falls if it outlives the heartbeat limit, and not otherwise."""
    if seconds > mode.heartbeat_limit + 1:
        return Expectation(Truth.FAILS, Alive.FALLS, falls_within=mode.fall)
    return Expectation(Truth.EITHER, Alive.STAYS)


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    long = mode.heartbeat_limit + 6.0
    asleep = recorded(ordered(orders.block(long)), "stacks", "<string>", "asyncio")
    asleep_30 = recorded(ordered(orders.block(30)), "stacks", "<string>", "asyncio")
    held = recorded(ordered(orders.hold_gil(long)), "stacks", "<string>", "asyncio")
    paused = recorded(stopped, "no_stacks", "stopped")
    injector = Program.INJECTOR
    return (
        Row("sigstop", f"SIGSTOP, SIGCONT {long:g} s later", paused, hang(mode, long), lasts=long),
        Row("sigstop-short", "SIGSTOP, SIGCONT 2 s later", stopped, hang(mode, 2.0), lasts=2.0),
        Row("blocked-0.5s", "event loop blocked 0.5 s", ordered(orders.block(0.5)), hang(mode, 0.5), lasts=1.0),
        Row("blocked-5s", "event loop blocked 5 s", ordered(orders.block(5)), hang(mode, 5.0), lasts=5.0),
        Row("blocked-30s", "event loop blocked 30 s", asleep_30, hang(mode, 30.0), lasts=30.0),
        Row("gil-held", f"GIL held {long:g} s", held, hang(mode, long), lasts=long),
        Row(
            "injector-sigstop", f"SIGSTOP, SIGCONT {long:g} s later", paused, hang(mode, long), program=injector,
            lasts=long,
        ),
        Row(
            "injector-blocked", f"event loop blocked {long:g} s", asleep, hang(mode, long), program=injector,
            lasts=long,
        ),
    )  # fmt: skip
