import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from osm_probes.foundation.listen import listen
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.lifecycle import Phase
from osm_probes.health.stacks import StackFile
from osm_probes.pki.authority import Authority
from osm_probes.runtime.initial_judge_state import CONTROLLER
from osm_probes.runtime.judge_process import JudgeSupervisor
from tests.ads.fake_ads import fake_ads
from tests.standin import StandIn, running, standing_in, until

ALIVE = b"Service is alive"
NOT_READY = b"Readiness probe for draining indicates it is not ready"
HEADERS = (
    b"HTTP/1.1 %s\r\n"
    b"Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] [A-Z][a-z]{2} 20[0-9]{2} [0-2][0-9](:[0-5][0-9]){2} GMT\r\n"
    b"Content-Length: %d\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"\r\n"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A program that serves, shared by the tests that only ask."""
    with standing_in(tmp_path_factory.mktemp("judge"), heartbeat_limit=30) as program:
        program.serve()
        yield program


def curl(*arguments: str) -> tuple[int, bytes]:
    """Exit status and all that real curl prints."""
    done = subprocess.run(["curl", "-s", "-i", *arguments], capture_output=True, timeout=20, check=False)
    return done.returncode, done.stdout


def expected(body: bytes, *, status: bytes = b"200 OK", shown: bool = True) -> bytes:
    return HEADERS % (status, len(body)) + (re.escape(body) if shown else b"")


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "localhost"])
@pytest.mark.parametrize(
    "options", [[], ["-X", "POST"], ["-d", "x=1"], ["-X", "DELETE"], ["-H", "Expect: 100-continue"]]
)
def test_curl_prints_the_contracts_bytes(program: StandIn, address: str, options: list[str]) -> None:
    status, said = curl(*options, f"http://{address}:{program.port}/health/alive")
    assert status == 0
    assert re.fullmatch(expected(ALIVE), said)


def test_connection_close_is_the_last_header_if_asked_for(program: StandIn) -> None:
    _, said = curl("-H", "Connection: close", f"http://127.0.0.1:{program.port}/health/alive")
    assert re.fullmatch(expected(ALIVE).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), said)


def test_a_connection_is_kept_for_the_next_probe(program: StandIn) -> None:
    url = f"http://127.0.0.1:{program.port}/health/alive"
    status, said = curl("-w", "%{num_connects}", url, "-w", "%{num_connects}", url)
    assert status == 0
    assert re.fullmatch(expected(ALIVE) + b"1" + expected(ALIVE) + b"0", said)


def test_an_http_1_0_client_gets_http_1_0(program: StandIn) -> None:
    _, said = curl("-0", f"http://127.0.0.1:{program.port}/health/alive")
    assert re.fullmatch(expected(ALIVE).replace(b"HTTP/1.1", b"HTTP/1.0"), said)


def test_a_tls_client_is_refused_at_once(program: StandIn) -> None:
    asked_at = time.monotonic()
    assert curl(f"https://127.0.0.1:{program.port}/health/alive") == (35, b"")  # curl: TLS handshake failed
    assert time.monotonic() - asked_at < 1


def test_head_prints_the_same_without_the_body(program: StandIn) -> None:
    status, said = curl("-I", f"http://127.0.0.1:{program.port}/health/alive")
    assert status == 0
    assert re.fullmatch(expected(ALIVE, shown=False), said)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/health/ready", b"200 OK", b"Service is ready"),
        ("/version", b"200 OK", b'{"version":"0.1.0"}'),
        ("/nothing", b"404 Not Found", b"404 page not found"),
        ("/health/alive/mesh", b"404 Not Found", b"404 no such check; there are: ads"),
        ("/health/ready?verbose", b"200 OK", b"[+]mesh ok\n[+]capacity ok\n[+]draining ok\nService is ready"),
    ],
)
def test_each_path_has_the_contracts_bytes(program: StandIn, path: str, status: bytes, body: bytes) -> None:
    assert re.fullmatch(expected(body, status=status), curl(f"http://127.0.0.1:{program.port}{path}")[1])


def test_metrics_are_those_of_program_and_judge(program: StandIn) -> None:
    status, text = program.ask("/metrics")
    assert status == 200
    assert text.startswith("osm_standin 1\n# HELP ")
    assert "\nosm_program_up 1.0\n" in text


def test_alive_does_not_respond_and_ready_is_503_before_the_program_has_served(tmp_path: Path) -> None:
    with standing_in(tmp_path) as starting:
        url = f"http://127.0.0.1:{starting.port}"
        assert curl(f"{url}/health/alive") == (52, b"")  # curl: empty reply from server
        body = b"Readiness probe for mesh indicates it is not ready"
        assert re.fullmatch(expected(body, status=b"503 Service Unavailable"), curl(f"{url}/health/ready")[1])
        assert [curl(f"{url}{path}")[0] for path in ("/metrics", "/version")] == [0, 0]


def test_the_judge_loads_nothing_that_it_does_not_use(program: StandIn) -> None:
    libraries = Path(f"/proc/{program.judge}/maps").read_text()
    assert "msgspec" in libraries
    assert not re.search("cygrpc|_upb|cryptography|yaml", libraries)
    listed = subprocess.run(
        [sys.executable, "-c", "import sys, osm_probes.judge.main; print(*sys.modules)"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in listed.stdout.split()}
    assert not loaded & {"grpc", "google", "envoy", "cryptography", "yaml"}


def test_a_judge_that_is_killed_is_replaced_and_no_probe_is_lost(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        program.serve()
        first = program.judge
        os.kill(first, signal.SIGKILL)
        with ThreadPoolExecutor(20) as askers:
            answers = list(askers.map(lambda _: program.ask("/health/alive"), range(40)))
        assert answers == [(200, "Service is alive")] * 40
        assert program.judge != first
        assert program.ask("/health/ready") == (200, "Service is ready")  # the new judge got the state
        assert len(program.logged("the judge ended and is restarted")) == 1


def test_a_destroyed_listening_socket_is_replaced_and_probes_are_answered_again(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        program.serve()
        for _ in range(2):
            first = program.judge
            program.say("destroy")
            until(lambda first=first: program.judge != first, within=10)  # type: ignore[misc]
            until(lambda: _answers(program), within=10)
        assert program.ask("/health/ready") == (200, "Service is ready")
        assert len(program.logged("the judge ends, and its program listens again")) == 2
        assert "Traceback" not in program.log.read_text()


def _answers(program: StandIn) -> bool:
    try:
        return program.ask("/health/alive") == (200, "Service is alive")
    except ConnectionRefusedError:
        return False


def test_the_judge_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    with standing_in(tmp_path) as program:
        judge = program.judge
        program.signal(signal.SIGKILL)
        killed_at = time.monotonic()
        until(lambda: not running(judge), within=1)
        assert time.monotonic() - killed_at < 0.05


def test_even_a_judge_that_is_stopped_ends_with_its_program(tmp_path: Path) -> None:
    with standing_in(tmp_path) as program:
        judge = program.judge
        os.kill(judge, signal.SIGSTOP)
        program.signal(signal.SIGKILL)
        until(lambda: not running(judge), within=1)


def test_the_judge_is_in_its_own_session(program: StandIn) -> None:
    assert os.getsid(program.judge) == program.judge  # so Ctrl-C in a terminal is the program's alone


def test_the_judge_ends_last_when_the_program_stops(tmp_path: Path) -> None:
    with standing_in(tmp_path) as program:
        judge = program.judge
        program.say("stop")
        until(lambda: not running(judge), within=2)
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(("127.0.0.1", program.port), 1).close(), within=2)
        assert program.logged("the judge ended and is restarted") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_the_judge_ignores_the_signals_that_stop_the_program(program: StandIn, number: signal.Signals) -> None:
    judge = program.judge
    os.kill(judge, number)
    assert program.ask("/health/alive")[0] == 200
    assert program.judge == judge


def test_a_fall_and_a_recovery_are_logged_once_each(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        program.serve()
        for line, status in (("problem mesh the folder is gone", 503), ("problem mesh", 200)):
            program.say(line)
            until(lambda status=status: program.ask("/health/ready")[0] == status, within=5)  # type: ignore[misc]
            program.ask("/health/ready")
        until(lambda: len(program.logged("a probe recovered")) >= 2, within=5)
        falls = [(each["probe"], each["check"], each["reason"]) for each in program.logged("a probe fell")]
        assert falls == [("ready", "mesh", "the folder is gone")]


async def test_ready_follows_a_real_ads_and_a_change_of_its_ca() -> None:
    judge_state = msgspec.structs.replace(CONTROLLER, ready=("ads",))
    heartbeat = Heartbeat.create()
    heartbeat.show(Phase.SERVING, has_served=True)
    stacks = StackFile.create()
    with (
        listen(0) as listener,
        JudgeSupervisor(InheritedSockets(listener, heartbeat, stacks), judge_state=judge_state) as judge,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/health/ready?verbose"
        for authority in (Authority.create("one"), Authority.create("two")):
            async with fake_ads(authority=authority) as canary:
                judge.update(msgspec.structs.replace(judge_state, ads=canary))
                await eventually(url, "[+]ads ok\nService is ready")
        refused = f"[-]ads failed: 127.0.0.1:{canary.port} refuses connections\n"
        await eventually(url, f"{refused}Readiness probe for ADS indicates it is not ready")
    heartbeat.close()
    stacks.close()


async def eventually(url: str, body: str) -> None:
    """Wait until curl prints this body."""
    said = b""
    async with asyncio.timeout(5):
        while said.partition(b"\r\n\r\n")[2] != body.encode():
            said = (await asyncio.to_thread(curl, url))[1]


def test_a_change_is_logged_soon_although_nobody_asks(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        program.serve()
        program.say("phase DRAINING")
        fall = until(lambda: program.logged("a probe fell"), within=2)[0]
        assert (fall["level"], fall["probe"], fall["check"]) == ("info", "ready", "draining")
