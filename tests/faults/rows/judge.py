"""Rows: the judge itself is killed or stopped; its replacement must keep the answers correct."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults.cgroup import memory_limit
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Program, Row
from tests.faults.testbed import HTTP_PORT, FaultTestbed

_NO_MEMORY = 128 << 10


def signalled(number: signal.Signals) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Send a signal to the judge; it must be replaced."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        old = testbed.judge
        testbed.kill(old, number)
        yield
        if testbed.judge == old:
            raise FaultError("the judge was not replaced")

    return action


@contextlib.contextmanager
def memory_cut(testbed: FaultTestbed) -> Iterator[None]:
    """Limit the judge's memory and connect clients, so that the kernel kills it; it must be replaced."""
    old = testbed.judge
    with memory_limit((old,), limit=_NO_MEMORY), testbed.load("idle", 100, port=HTTP_PORT):
        yield
    if testbed.judge == old:
        raise FaultError("the judge was not killed: the memory limit had no effect")


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    replaced = Expectation(Truth.HOLDS, Alive.STAYS, judge_dies=True)
    killed = signalled(signal.SIGKILL)
    return (
        Row("judge-killed", "judge killed", killed, replaced),
        Row("judge-stopped", "judge stopped (SIGSTOP)", signalled(signal.SIGSTOP), replaced),
        Row("judge-memory-cut", "judge's memory limited to 128 KB above current use", memory_cut, replaced),
        Row("injector-judge-killed", "judge killed", killed, replaced, program=Program.INJECTOR),
    )
