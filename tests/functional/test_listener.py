"""Real programs whose listening socket is destroyed, or blocked by a firewall, from outside."""

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
PROGRAMS = ["osm-controller", "osm-injector"]
ALIVE = "Service is alive"
READY = "Service is ready"


@pytest.fixture
def netns() -> Iterator[Namespace]:
    """A network namespace for one test."""
    with namespace(f"osm-listener-{secrets.token_hex(3)}") as netns:
        yield netns


def destroy_listener(netns: Namespace, port: int) -> None:
    """Have the kernel close the listening socket; connections stay open."""
    choice = ("-H", "-t", "-l", "-n", "sport", "=", f":{port}")
    run(*netns.command("ss", "-K", *choice))
    left = run(*netns.command("ss", *choice))
    assert not left, f"ss -K needs a kernel with CONFIG_INET_DIAG_DESTROY: {left}"


def occupy_port(netns: Namespace, port: int) -> socket.socket:
    """Listen on the port and never accept a connection."""
    return netns.inside(lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))


def phases(program: Program) -> list[str]:
    return [line["phase"] for line in program.lines("phase")]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_listens_again_after_its_socket_was_destroyed(name: str, tmp_path: Path, netns: Namespace) -> None:
    with running(name, tmp_path, where=netns.command()) as program:
        program.until_ready()
        for _ in range(2):
            destroy_listener(netns, program.served_port)
            answers: list[tuple[str, str]] = []
            end = time.monotonic() + 4
            while time.monotonic() < end:
                answers.append((program.get("/health/alive"), program.get("/health/ready")))
            assert {alive for alive, _ in answers} == {ALIVE}
            assert answers[-1][1] == READY
            # The injector listens again after 0.1 s, which may be too short for a probe to notice.
            assert name == "osm-injector" or answers[len(answers) // 8][1] != READY
        assert phases(program)[-5:] == ["SERVING", "RECOVERING", "SERVING", "RECOVERING", "SERVING"]
        assert program.stop() == 0


def test_if_another_process_takes_the_port_the_program_fails_after_ten_seconds(
    tmp_path: Path, netns: Namespace
) -> None:
    with ExitStack() as stack:
        programs = [stack.enter_context(running(name, tmp_path, where=netns.command())) for name in PROGRAMS]
        for program in programs:
            program.until_ready()
        for program in programs:
            destroy_listener(netns, program.served_port)
            stack.enter_context(occupy_port(netns, program.served_port))
        started = time.monotonic()
        for program in programs:
            program.logged("phase", phase="FAILED")
            assert 9 < time.monotonic() - started < 14
            assert phases(program)[-2:] == ["RECOVERING", "FAILED"]
            assert len(program.lines("a component failed")) == 1
            assert "503" in program.get("/health/alive", "-i").partition("\n")[0]
            assert "503" in program.get("/health/ready", "-i").partition("\n")[0]
            assert program.stop() == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_firewall_rule_affects_readiness_and_not_liveness(name: str, tmp_path: Path, netns: Namespace) -> None:
    with running(name, tmp_path, where=netns.command()) as program:
        program.until_ready()
        rule = ("INPUT", "-p", "tcp", "--dport", str(program.served_port), "-j", "REJECT", "--reject-with", "tcp-reset")
        run(*netns.command("iptables", "-I", *rule))
        until(lambda: program.get("/health/ready") != READY, within=2)
        end = time.monotonic() + 4  # longer than the detection of a lost socket takes
        while time.monotonic() < end:
            assert program.get("/health/alive") == ALIVE
            assert program.get("/health/ready") != READY
        run(*netns.command("iptables", "-D", *rule))
        until(lambda: program.get("/health/ready") == READY, within=2)
        assert phases(program)[-1] == "SERVING"
        assert "RECOVERING" not in phases(program)
