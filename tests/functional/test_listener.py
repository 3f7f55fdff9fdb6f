"""Real programs whose listening socket is destroyed, or walled in, from outside."""

import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.namespaces import Namespace, namespace, run
from tests.functional.programs import Program, running
from tests.standin import until

pytestmark = pytest.mark.netns
BOTH = ["osm-controller", "osm-injector"]
ALIVE = "Service is alive"
READY = "Service is ready"


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A network namespace of the test's own."""
    with namespace(f"osm-listener-{secrets.token_hex(3)}") as made:
        yield made


def destroy_listener(place: Namespace, port: int) -> None:
    """The kernel takes the listening socket away; connections stay."""
    choice = ("-H", "-t", "-l", "-n", "sport", "=", f":{port}")
    run(*place.command("ss", "-K", *choice))
    left = run(*place.command("ss", *choice))
    assert not left, f"ss -K needs a kernel with CONFIG_INET_DIAG_DESTROY: {left}"


def occupied(place: Namespace, port: int) -> socket.socket:
    """Another process's listener on the port; it never accepts."""
    return place.inside(lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))


def phases(program: Program) -> list[str]:
    return [line["phase"] for line in program.lines("phase")]


@pytest.mark.parametrize("name", BOTH)
def test_a_destroyed_listener_is_had_back_without_a_hand(name: str, tmp_path: Path, place: Namespace) -> None:
    with running(name, tmp_path, where=place.command()) as program:
        program.until_ready()
        for _ in range(2):
            destroy_listener(place, program.served_port)
            answers: list[tuple[str, str]] = []
            end = time.monotonic() + 4
            while time.monotonic() < end:
                answers.append((program.get("/health/alive"), program.get("/health/ready")))
            assert {alive for alive, _ in answers} == {ALIVE}
            assert answers[-1][1] == READY
            # The injector has its port back after 0.1 s, which no probe needs to see.
            assert name == "osm-injector" or answers[len(answers) // 8][1] != READY
        assert phases(program)[-5:] == ["SERVING", "RECOVERING", "SERVING", "RECOVERING", "SERVING"]
        assert program.stop() == 0


def test_a_port_that_another_process_took_meanwhile_fails_after_ten_seconds(tmp_path: Path, place: Namespace) -> None:
    with ExitStack() as stack:
        programs = [stack.enter_context(running(name, tmp_path, where=place.command())) for name in BOTH]
        for program in programs:
            program.until_ready()
        for program in programs:
            destroy_listener(place, program.served_port)
            stack.enter_context(occupied(place, program.served_port))
        started = time.monotonic()
        for program in programs:
            program.logged("phase", phase="FAILED")
            assert 9 < time.monotonic() - started < 14
            assert phases(program)[-2:] == ["RECOVERING", "FAILED"]
            assert len(program.lines("a component failed")) == 1
            assert "503" in program.get("/health/alive", "-i").partition("\n")[0]
            assert "503" in program.get("/health/ready", "-i").partition("\n")[0]
            assert program.stop() == 0


@pytest.mark.parametrize("name", BOTH)
def test_a_firewall_is_readys_business_alone(name: str, tmp_path: Path, place: Namespace) -> None:
    with running(name, tmp_path, where=place.command()) as program:
        program.until_ready()
        rule = ("INPUT", "-p", "tcp", "--dport", str(program.served_port), "-j", "REJECT", "--reject-with", "tcp-reset")
        run(*place.command("iptables", "-I", *rule))
        until(lambda: program.get("/health/ready") != READY, within=2)
        end = time.monotonic() + 4  # longer than a loss takes to be seen
        while time.monotonic() < end:
            assert program.get("/health/alive") == ALIVE
            assert program.get("/health/ready") != READY
        run(*place.command("iptables", "-D", *rule))
        until(lambda: program.get("/health/ready") == READY, within=2)
        assert phases(program)[-1] == "SERVING"
        assert "RECOVERING" not in phases(program)
