"""Rows: faults of osm-injector's webhook."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults import injected_code
from tests.faults.cgroup import memory_limit
from tests.faults.cluster import injecting_cluster
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Program, Row, executing
from tests.faults.rows.network import destroyed_listener, filtered, port_taken_over, unrecoverable
from tests.faults.rows.start import FATAL, port_in_use
from tests.faults.testbed import FaultTestbed


@contextlib.contextmanager
def ended_side_tasks(testbed: FaultTestbed) -> Iterator[None]:
    """Make the task that writes Events raise, and cancel others. All are started again, and the log names them."""
    testbed.execute(injected_code.END_SIDE_TASKS)
    yield
    testbed.execute(injected_code.RESTORE_SIDE_TASKS)
    named = {line["task"] for line in testbed.logged("a task ended and is started again")}
    if missing := {"events", "source", "ca_secret", "settings", "bundle", "memory"} - named:
        raise FaultError(f"the log does not name the ended tasks {', '.join(sorted(missing))}")


_SLOW_BODIES = 200
_MEMORY = 160 << 20
"""Bytes: 256 MiB in the chart, less the 85 MiB of an idle program with its judge, and a reserve."""


def under(kind: str, count: int) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Load on the webhook's port."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        with testbed.load(kind, count):
            yield

    return action


@contextlib.contextmanager
def slow_bodies(testbed: FaultTestbed) -> Iterator[None]:
    """Send large reviews slowly, with the memory that the chart gives the program beyond what it has when idle."""
    with memory_limit((testbed.pid, testbed.judge), limit=_MEMORY), testbed.load("slow-bodies", _SLOW_BODIES):
        yield


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    fails = Expectation(Truth.FAILS, Alive.STAYS)
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    slow, junk = mode.count(500), mode.count(500)
    program = Program.INJECTOR
    return (
        Row(
            "injector-port-taken", "port 9090 in use before the start", port_in_use, FATAL, program=program,
            at_start=True,
        ),
        Row(
            "injector-listener-destroyed", "listening socket of port 9090 destroyed (ss -K)", destroyed_listener, fails,
            program=program,
        ),
        Row(
            "injector-listener-lost-for-good", "listening socket of port 9090 destroyed, port taken by another process",
            port_taken_over, unrecoverable(), program=program, duration=16.0,
        ),
        Row(
            "injector-reject", "firewall REJECTs port 9090", filtered("REJECT", "--reject-with", "tcp-reset"), fails,
            program=program,
        ),
        Row(
            "injector-side-tasks-end", "the task that writes Events raises, others are cancelled", ended_side_tasks,
            unharmed, program=program, setup=injecting_cluster, extra_pods=0,
        ),
        Row(
            "injector-review-fails", "every review fails",
            executing(injected_code.BREAK_REVIEWS, undo=injected_code.RESTORE_REVIEWS), fails, program=program,
        ),
        Row(
            "injector-slow-loris", f"{slow} requests at one byte per second to port 9090", under("slow", slow),
            unharmed,
            program=program, duration=15.0, load=True,
        ),
        Row(
            "injector-garbage", f"{junk} connections that continuously send garbage to port 9090", under("garbage",
            junk),
            unharmed, program=program, duration=10.0, load=True,
        ),
        Row(
            "injector-slow-bodies", f"{_SLOW_BODIES} slow requests with 3 MiB of body each to port 9090, memory of the "
            "chart's limit", slow_bodies, unharmed, program=program, duration=15.0, load=True,
        ),
    )  # fmt: skip
