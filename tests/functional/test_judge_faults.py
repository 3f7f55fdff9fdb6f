"""The judge's answers while its program is stopped, lacks descriptors, or gets many connections."""

import os
import resource
import signal
import socket
import time
from pathlib import Path

from tests.standin import standing_in, until

ALIVE = (200, "Service is alive")
DEAD = (503, "Liveness probe for ADS indicates it is not alive")


def test_a_stopped_program_is_not_alive_after_the_heartbeat_limit_and_alive_when_it_continues(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        program.signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        time.sleep(0.5)
        assert program.ask("/health/alive") == ALIVE
        until(lambda: program.ask("/health/alive") == DEAD, within=3)
        assert 0.9 < time.monotonic() - stopped_at < 1.3
        started = time.monotonic()
        assert "osm_program_up 0.0" in program.ask("/metrics")[1]
        assert 0.9 < time.monotonic() - started < 1.3
        program.signal(signal.SIGCONT)
        until(lambda: program.ask("/health/alive") == ALIVE, within=1)
        until(lambda: "osm_program_up 1.0" in program.ask("/metrics")[1], within=2)
        until(lambda: program.logged("a probe recovered")[-1]["probe"] == "alive", within=1)
        assert [entry["probe"] for entry in program.logged("a probe fell")] == ["alive"]
        assert program.logged("the judge ended and is restarted") == []


def test_after_both_processes_were_paused_the_first_liveness_probe_is_200(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        judge = program.judge
        program.signal(signal.SIGSTOP)
        os.kill(judge, signal.SIGSTOP)
        time.sleep(2.5)
        os.kill(judge, signal.SIGCONT)
        assert program.ask("/health/alive") == ALIVE  # the heartbeat limit starts again for the program
        program.signal(signal.SIGCONT)
        assert program.ask("/health/alive") == ALIVE
        assert program.judge == judge


def test_a_stopped_judge_is_replaced(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        program.serve()
        judge = program.judge
        os.kill(judge, signal.SIGSTOP)
        stopped_at = time.monotonic()
        assert program.ask("/health/alive", within=10) == ALIVE
        assert 1.0 < time.monotonic() - stopped_at < 4.0
        assert program.judge != judge


def test_a_killed_judge_is_replaced_even_if_the_program_has_no_file_descriptor_left(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (64, 64))
        program.serve()
        program.say("exhaust")
        until(lambda: len(list(Path(f"/proc/{program.pid}/fd").iterdir())) == 64, within=5)
        for _ in range(3):
            judge = program.judge
            os.kill(judge, signal.SIGKILL)
            assert program.ask("/health/alive") == ALIVE
            until(lambda judge=judge: program.judge != judge, within=2)  # type: ignore[misc]
            time.sleep(1.1)  # a judge that exits sooner is replaced only after a delay


def test_3000_idle_connections_and_a_slow_client_do_not_delay_other_clients(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        program.serve()
        idle = [socket.create_connection(("127.0.0.1", program.port)) for _ in range(3000)]
        idle[-1].sendall(b"GET /health/alive HT")
        for _ in range(20):
            start = time.monotonic()
            assert program.ask("/health/alive") == ALIVE
            assert time.monotonic() - start < 0.5
        idle[-1].settimeout(5)
        dropped_at = time.monotonic()
        assert idle[-1].recv(1) == b""
        assert time.monotonic() - dropped_at < 3.5
        for connection in idle:
            connection.close()


def test_more_connections_than_file_descriptors_do_not_delay_other_clients(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=30) as program:
        program.serve()
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (100, 100))
        os.kill(program.judge, signal.SIGKILL)  # its replacement inherits the program's limit
        program.ask("/health/alive")
        idle = [socket.create_connection(("127.0.0.1", program.port)) for _ in range(200)]
        for _ in range(20):
            start = time.monotonic()
            assert program.ask("/health/alive") == ALIVE
            assert time.monotonic() - start < 0.5
        for connection in idle:
            connection.close()
