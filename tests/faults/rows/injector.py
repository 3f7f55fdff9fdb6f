"""Faults of the injector's webhook."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults import orders
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Mode, Program, Row
from tests.faults.rows.network import destroyed_listener, filtered, lost_for_good, usurped_port
from tests.faults.rows.start import FATAL, taken_port
from tests.faults.stage import Stage


@contextlib.contextmanager
def broken_reviews(stage: Stage) -> Iterator[None]:
    """Every review raises."""
    stage.order(orders.BREAK_REVIEWS)
    yield
    stage.order(orders.MEND_REVIEWS)


def under(kind: str, count: int) -> Callable[[Stage], AbstractContextManager[None]]:
    """A load on the webhook's port."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        with stage.load(kind, count):
            yield

    return act


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    fails = Expectation(Truth.FAILS, Alive.STAYS)
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    slow, junk = mode.count(500), mode.count(500)
    program = Program.INJECTOR
    return (
        Row("injector-port-taken", "port 9090 taken before start", taken_port, FATAL, program=program, at_start=True),
        Row(
            "injector-listener-destroyed", "listening socket of 9090 destroyed (ss -K)", destroyed_listener, fails,
            program=program,
        ),
        Row(
            "injector-listener-lost-for-good", "listening socket of 9090 destroyed, its port taken by another",
            usurped_port, lost_for_good(), program=program, lasts=16.0,
        ),
        Row(
            "injector-reject", "firewall REJECTs 9090", filtered("REJECT", "--reject-with", "tcp-reset"), fails,
            program=program,
        ),
        Row("injector-review-fails", "every review raises", broken_reviews, fails, program=program),
        Row(
            "injector-slow-loris", f"{slow} requests of one byte a second on 9090", under("slow", slow), unharmed,
            program=program, lasts=15.0, load=True,
        ),
        Row(
            "injector-garbage", f"{junk} connections that send garbage to 9090, on end", under("garbage", junk),
            unharmed, program=program, lasts=10.0, load=True,
        ),
    )  # fmt: skip
