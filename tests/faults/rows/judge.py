"""The judge itself is hurt; nobody may notice."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults.cgroup import memory_limit
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Program, Row
from tests.faults.stage import HTTP_PORT, Stage

_NO_MEMORY = 128 << 10


def signalled(number: signal.Signals) -> Callable[[Stage], AbstractContextManager[None]]:
    """The judge gets a signal; another judge must come."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        old = stage.judge
        stage.kill(old, number)
        yield
        if stage.judge == old:
            raise FaultError("the judge was not replaced")

    return act


@contextlib.contextmanager
def memory_cut(stage: Stage) -> Iterator[None]:
    """The judge may allocate next to nothing more, and clients come: the kernel kills it, another one must come."""
    old = stage.judge
    with memory_limit((old,), limit=_NO_MEMORY), stage.load("idle", 100, port=HTTP_PORT):
        yield
    if stage.judge == old:
        raise FaultError("the judge lived on: the limit did not bite")


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    replaced = Expectation(Truth.HOLDS, Alive.STAYS, judge_dies=True)
    killed = signalled(signal.SIGKILL)
    return (
        Row("judge-killed", "the judge killed", killed, replaced),
        Row("judge-stopped", "the judge stopped (SIGSTOP)", signalled(signal.SIGSTOP), replaced),
        Row("judge-memory-cut", "the judge's memory cut to 128 KB more", memory_cut, replaced),
        Row("injector-judge-killed", "the judge killed", killed, replaced, program=Program.INJECTOR),
    )
