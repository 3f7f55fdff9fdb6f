"""One fault of the matrix, as a value: what runs, what is done to it from outside, and what must hold."""

import contextlib
import enum
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.compare import Expectation

if TYPE_CHECKING:
    from tests.faults.stage import Stage


class FaultError(Exception):
    """A fault could not be injected, or it found something wrong by itself; the text is for the table."""


class Program(enum.Enum):
    """What is started."""

    CONTROLLER = "osm-controller"
    INJECTOR = "osm-injector"


Act = Callable[["Stage"], AbstractContextManager[None]]
"""Done to a stage when entered, undone when left."""


@contextlib.contextmanager
def nothing(_stage: "Stage") -> Iterator[None]:
    """No act."""
    yield


@dataclass(frozen=True, slots=True)
class Mode:
    """How much is asked: the heartbeat limit in seconds, and what the counts of load rows are divided by."""

    heartbeat_limit: float = 15.0
    divisor: int = 1

    def count(self, full: int) -> int:
        """How many of a load row's `full` number this mode has."""
        return max(1, full // self.divisor)

    @property
    def fall(self) -> float:
        """From a hang to the probe that says so: the limit, a period of the probes, and the answer."""
        return self.heartbeat_limit + 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """A row. Durations in seconds.

    fault: entered to inject, left to heal; `lasts` lies between. setup: around the whole life of the program.
    at_start: the fault is there before the program is. load: it runs alone, for it makes the machine busy.
    flags: of the program. every: between two samples of truth. crowd: how many proxies of loads the mesh has. The
    table shows `text`.
    """

    name: str
    text: str
    fault: Act
    expect: Expectation
    program: Program = Program.CONTROLLER
    setup: Act = nothing
    lasts: float = 6.0
    at_start: bool = False
    load: bool = False
    flags: tuple[str, ...] = ()
    every: float = 0.1
    crowd: int = 128
