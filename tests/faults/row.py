"""A row of the fault matrix: the program, the fault that is injected from outside, and the expectation."""

import contextlib
import enum
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.compare import Expectation

if TYPE_CHECKING:
    from tests.faults.testbed import FaultTestbed


class FaultError(Exception):
    """A fault could not be injected, or it found a problem itself; the message is for the table."""


class Program(enum.Enum):
    """The program that a row starts."""

    CONTROLLER = "osm-controller"
    INJECTOR = "osm-injector"


Action = Callable[["FaultTestbed"], AbstractContextManager[None]]
"""A context manager that changes the testbed on entry and restores it on exit."""


@contextlib.contextmanager
def no_action(_testbed: "FaultTestbed") -> Iterator[None]:
    """Do nothing."""
    yield


def executing(code: str, *, undo: str = "") -> Action:
    """Inject code; at the end inject code that undoes it, unless it ends by itself."""

    @contextlib.contextmanager
    def action(testbed: "FaultTestbed") -> Iterator[None]:
        testbed.execute(code)
        yield
        if undo:
            testbed.execute(undo)

    return action


@dataclass(frozen=True, slots=True)
class Mode:
    """The scale of a run: the heartbeat limit in seconds, and the divisor for the number of clients in load rows."""

    heartbeat_limit: float = 15.0
    divisor: int = 1

    def count(self, full: int) -> int:
        """The number of clients in this mode, for the number of a full run."""
        return max(1, full // self.divisor)

    @property
    def fall(self) -> float:
        """Seconds from a hang to the failing probe: the heartbeat limit, a probe period, and the answer."""
        return self.heartbeat_limit + 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """A row. Durations in seconds.

    text: the description in the table. fault: injected for `duration`. setup: entered before the program starts and
    exited after it ends. at_start: the fault is injected before the program starts. load: the row needs the whole
    machine, so it runs alone. flags: flags of the program. sample_interval: between two requests of real clients.
    extra_pods: the number of load proxies in the mesh.
    """

    name: str
    text: str
    fault: Action
    expect: Expectation
    program: Program = Program.CONTROLLER
    setup: Action = no_action
    duration: float = 6.0
    at_start: bool = False
    load: bool = False
    flags: tuple[str, ...] = ()
    sample_interval: float = 0.1
    extra_pods: int = 128
