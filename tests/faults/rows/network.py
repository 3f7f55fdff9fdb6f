"""Faults between a proxy and the ADS that listens."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.rows.start import taken_port
from tests.faults.stage import Stage


@contextlib.contextmanager
def destroyed_listener(stage: Stage) -> Iterator[None]:
    """The kernel destroys the listening socket; the program must help itself."""
    stage.run("ss", "-K", "-t", "state", "listening", f"sport = :{stage.port}")
    if f":{stage.port}" in stage.run("ss", "-Hltn"):
        raise FaultError("ss -K does nothing here: the kernel lacks CONFIG_INET_DIAG_DESTROY")
    yield


@contextlib.contextmanager
def usurped_port(stage: Stage) -> Iterator[None]:
    """The listening socket is destroyed, and another process takes the port for good."""
    with destroyed_listener(stage), taken_port(stage):
        yield


def lost_for_good() -> Expectation:
    """Binding again is tried for 10 s; then it has failed, and only a restart helps."""
    return Expectation(Truth.FAILS, Alive.FALLS, falls_within=14.0, recovers_within=None)


def filtered(*target: str) -> Callable[[Stage], AbstractContextManager[None]]:
    """A firewall before the program's port, on every interface."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        rule = ("INPUT", "-p", "tcp", "--dport", str(stage.port), "-j", *target)
        for tool in ("iptables", "ip6tables"):
            stage.run(tool, "-A", *rule)
        yield
        for tool in ("iptables", "ip6tables"):
            stage.run(tool, "-D", *rule)

    return act


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    outside = Expectation(Truth.FAILS, Alive.STAYS)
    return (
        Row("listener-destroyed", "listening socket of the ADS destroyed (ss -K)", destroyed_listener, outside),
        Row(
            "listener-lost-for-good", "listening socket of the ADS destroyed, its port taken by another", usurped_port,
            lost_for_good(), lasts=16.0,
        ),
        Row(
            "reject", "firewall REJECTs the ADS port", filtered("REJECT", "--reject-with", "tcp-reset"), outside,
            lasts=8.0,
        ),
        Row("drop", "firewall DROPs the ADS port", filtered("DROP"), outside, lasts=10.0),
    )  # fmt: skip
