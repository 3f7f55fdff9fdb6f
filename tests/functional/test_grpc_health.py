"""grpc.health.v1 of the real programs, queried by a real grpc client."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.functional.health_client import NOT_SERVING, SERVICES, SERVING, Watch, check
from tests.functional.programs import Program, run_to_exit, running
from tests.standin import children, until

FLAG = "--grpc-health-port=0"


def grpc_port(program: Program) -> int:
    return int(program.logged("listening", component="grpc-health")["port"])


@pytest.mark.parametrize("name", ["osm-controller", "osm-injector"])
def test_a_watch_receives_each_transition_within_a_second_of_its_cause(tmp_path: Path, name: str) -> None:
    with running(name, tmp_path, FLAG, "--heartbeat-limit=1s", "--drain-delay=2s") as program:
        program.until_ready()
        port = grpc_port(program)
        for host in ("127.0.0.1", "[::1]"):
            assert {check(port, service, host=host) for service in SERVICES} == {SERVING}
        watches = {service: Watch(port, service) for service in SERVICES}
        assert [watch.statuses.get(timeout=5)[1] for watch in watches.values()] == [SERVING] * 3

        program.process.send_signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        for service, watch in watches.items():
            at, status = watch.statuses.get(timeout=8)
            assert (service, status) == (service, NOT_SERVING)
            assert at - stopped_at < 1.0 + 1.0  # the heartbeat limit and one second
        assert "not alive" in program.get("/health/alive")
        assert {check(port, service) for service in SERVICES} == {NOT_SERVING}

        program.process.send_signal(signal.SIGCONT)
        until(lambda: program.get("/health/ready") == "Service is ready", within=5)
        assert [watch.statuses.get(timeout=2)[1] for watch in watches.values()] == [SERVING] * 3

        program.process.send_signal(signal.SIGTERM)
        terminated_at = time.monotonic()
        for service in ("", "readiness"):
            at, status = watches[service].statuses.get(timeout=2)
            assert (status, at - terminated_at < 1) == (NOT_SERVING, True)
        assert program.process.wait(10) == 0
        for watch in watches.values():
            watch.close()
        assert watches["liveness"].statuses.empty()


def test_while_it_is_not_ready_check_returns_not_serving(tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "broken.yaml").write_text("kind: [")
    with running("osm-controller", tmp_path, FLAG, mesh_dir=tmp_path / "mesh") as program:
        assert check(grpc_port(program), "") == NOT_SERVING
        until(lambda: program.get("/health/alive") == "Service is alive", within=10)
        assert check(grpc_port(program), "liveness") == SERVING
        assert check(grpc_port(program), "readiness") == NOT_SERVING


def test_it_is_off_by_default(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        assert [line for line in program.lines("listening") if line["component"] == "grpc-health"] == []
        judge = children(program.process.pid)[0]
        listed = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True, timeout=10).stdout
        assert listed.count(f"pid={judge},") == 2  # the probes' port and the debug port


def test_with_a_port_in_use_the_program_exits_with_1_and_logs_one_line(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--http-port=0", "--mesh-dir", str(tmp_path), f"--grpc-health-port={port}"]
        result = run_to_exit("osm-injector", flags)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"cannot listen on all addresses, port {port}: another process listens there" in result.stderr


def test_calls_wait_while_a_killed_judge_is_replaced(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, FLAG) as program:
        program.until_ready()
        port = grpc_port(program)
        os.kill(children(program.process.pid)[0], signal.SIGKILL)
        assert check(port, "liveness") == SERVING
        assert check(port, "readiness") == SERVING
        metrics = program.get("/metrics")
        assert 'osm_probe_requests_total{code="SERVING",path="/grpc.health.v1.Health/Check"} 2.0' in metrics
