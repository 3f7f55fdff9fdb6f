"""Rows: faults on the network path to a program that listens."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.rows.start import port_in_use
from tests.faults.testbed import FaultTestbed


@contextlib.contextmanager
def destroyed_listener(testbed: FaultTestbed) -> Iterator[None]:
    """Have the kernel destroy the listening socket; the program must recover by itself."""
    testbed.run("ss", "-K", "-t", "state", "listening", f"sport = :{testbed.port}")
    if f":{testbed.port}" in testbed.run("ss", "-Hltn"):
        raise FaultError("ss -K has no effect: the kernel lacks CONFIG_INET_DIAG_DESTROY")
    yield


@contextlib.contextmanager
def port_taken_over(testbed: FaultTestbed) -> Iterator[None]:
    """Destroy the listening socket, and let another process listen on the port."""
    with destroyed_listener(testbed), port_in_use(testbed):
        yield


def unrecoverable() -> Expectation:
    """The program tries to listen again for 10 s; then its phase is FAILED, and only a restart helps."""
    return Expectation(Truth.FAILS, Alive.FALLS, falls_within=14.0, recovers_within=None)


def filtered(*target: str) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """A firewall rule for the program's port, on all interfaces."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        rule = ("INPUT", "-p", "tcp", "--dport", str(testbed.port), "-j", *target)
        for tool in ("iptables", "ip6tables"):
            testbed.run(tool, "-A", *rule)
        yield
        for tool in ("iptables", "ip6tables"):
            testbed.run(tool, "-D", *rule)

    return action


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    outside = Expectation(Truth.FAILS, Alive.STAYS)
    return (
        Row("listener-destroyed", "ADS listening socket destroyed (ss -K)", destroyed_listener, outside),
        Row(
            "listener-lost-for-good", "ADS listening socket destroyed, port taken by another process", port_taken_over,
            unrecoverable(), duration=16.0,
        ),
        Row(
            "reject", "firewall REJECTs the ADS port", filtered("REJECT", "--reject-with", "tcp-reset"), outside,
            duration=8.0,
        ),
        Row("drop", "firewall DROPs the ADS port", filtered("DROP"), outside, duration=10.0),
    )  # fmt: skip
