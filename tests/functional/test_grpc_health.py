"""grpc.health.v1 of the real programs, queried by a real grpc client."""

import os
import queue
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest

from tests.functional.programs import Program, run_to_exit, running
from tests.standin import children, until

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
SERVICES = {"": b"", "liveness": b"\x0a\x08liveness", "readiness": b"\x0a\x09readiness"}
FLAG = "--grpc-health-port=0"
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]


def grpc_port(program: Program) -> int:
    return int(program.logged("listening", component="grpc-health")["port"])


def check(port: int, service: str, *, host: str = "127.0.0.1") -> bytes:
    """Send a Check on a new connection, as a kubelet's gRPC probe does."""
    with grpc.insecure_channel(f"{host}:{port}", options=OPTIONS) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        return method(SERVICES[service], timeout=5)


class Watch:
    """The statuses that a Watch has received, with the time of each."""

    def __init__(self, port: int, service: str) -> None:
        self.statuses: queue.Queue[tuple[float, bytes]] = queue.Queue()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)
        method: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream("/grpc.health.v1.Health/Watch")
        self._call = method(SERVICES[service])
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._channel.close()
        self._thread.join(2)

    def _receive(self) -> None:
        try:
            for status in self._call:
                self.statuses.put((time.monotonic(), status))
        except grpc.RpcError:
            return


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
