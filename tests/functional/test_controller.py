"""osm-controller as a child process, queried over real sockets."""

import asyncio
import json
import re
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.pki.authority import Authority
from osm_probes.pki.ca_folder import load_authority
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import STREAM, Call, open_channel, read_message
from tests.ads.messages import sotw_request
from tests.functional.programs import BOOKSTORE, Program, run_to_exit, running
from tests.standin import until

_DATE = re.compile(r"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n")
_HEAD = "HTTP/1.1 200 OK\r\nDate: …\r\nContent-Length: 16\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"


def test_with_only_a_mesh_folder_it_becomes_alive_and_ready(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        assert _DATE.sub("Date: …\r\n", program.get("/health/alive", "-i")) == _HEAD + "Service is alive"
        assert program.get("/version") == '{"version":"0.1.0"}'
        assert json.loads(program.get("/smi/version")) == {
            "HTTPRouteGroup": "specs.smi-spec.io/v1alpha4",
            "TCPRoute": "specs.smi-spec.io/v1alpha4",
            "TrafficSplit": "split.smi-spec.io/v1alpha2",
            "TrafficTarget": "access.smi-spec.io/v1alpha3",
        }
        metrics = program.get("/metrics")
        assert "osm_proxy_connect_count 0.0" in metrics
        assert "osm_program_up 1.0" in metrics
        assert 'osm_health_check{check="ads",probe="ready"} 1.0' in metrics


_SLOW_START = """
import time
from osm_probes.health.listening import OwnSocket

claim = OwnSocket.claim

def slow(self):
    time.sleep(2)
    claim(self)

OwnSocket.claim = slow
"""


def test_a_readiness_request_during_the_start_waits_until_the_ads_serves(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SLOW_START)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"PYTHONPATH": str(tmp_path)}
    with running("osm-controller", tmp_path, f"--ads-port={port}", environment=environment) as program:
        until(lambda: _listens(port), within=15)
        assert not program.lines("phase")
        assert program.get("/health/ready") == "Service is ready"
        program.logged("phase")
        assert program.lines("phase")[-1]["phase"] == "SERVING"


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def _assert_proxy_is_served(program: Program, folder: Path) -> None:
    """Connect as a proxy and receive its clusters within a second."""
    authority = load_authority(folder / "ca")
    name = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))
    certificate = authority.issue(name.common_name("cluster.local"), validity=timedelta(hours=1))
    async with (
        asyncio.timeout(1),
        open_channel(program.served_port, certificate, root_pem=authority.root_pem) as channel,
    ):
        call: Call = channel.stream_stream(STREAM)()
        await call.write(sotw_request(CLUSTER))
        await read_message(call)
        call.cancel()


def test_after_sigterm_it_is_not_ready_at_once_drains_and_exits_with_0(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--drain-delay=2s") as program:
        program.until_ready()
        started = time.monotonic()
        program.process.terminate()
        until(lambda: "503" in program.get("/health/ready", "-i"), within=1)
        assert program.get("/health/ready") == "Readiness probe for draining indicates it is not ready"
        assert program.get("/health/alive") == "Service is alive"
        asyncio.run(_assert_proxy_is_served(program, tmp_path))  # the ADS still accepts proxies
        assert program.process.wait(10) == 0
        assert 2.0 <= time.monotonic() - started < 6.0


def test_a_second_sigterm_ends_the_process_at_once(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--drain-delay=10s") as program:
        program.until_ready()
        program.process.terminate()
        program.logged("phase", phase="DRAINING")
        assert program.stop(within=2) == 128 + signal.SIGTERM


def test_after_sigterm_before_the_ads_has_served_it_exits_at_once_with_0(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--drain-delay=10s") as program:
        program.logged("listening", component="probes")
        assert program.stop(within=2) == 0


def test_with_an_ads_port_in_use_it_exits_with_1_and_logs_the_reason(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with running("osm-controller", tmp_path, f"--ads-port={port}") as program:
            assert program.process.wait(15) == 1
            line = program.logged("cannot start")
            assert line["level"] == "fatal"
            assert f"port {port} of the ADS is taken" in line["error"]


def test_with_a_probe_port_in_use_it_exits_with_1_and_logs_one_line(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with running("osm-controller", tmp_path, f"--http-port={port}") as program:
            assert program.process.wait(15) == 1
            assert f"port {port}" in program.logged("cannot start")["error"]
            assert len(program.log.read_text().splitlines()) == 1


def test_with_a_mismatched_ca_key_it_exits_with_1_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    folder.mkdir()
    pair = {"ca.crt": Authority.create("one").root_pem, "private.key": Authority.create("two").key_pem}
    for name, content in pair.items():
        (folder / name).write_bytes(content)
    with running("osm-controller", tmp_path) as program:
        assert program.process.wait(15) == 1
        assert "does not belong to the root certificate" in program.logged("cannot start")["error"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == pair


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--mesh-dir", "/no/such/folder"], "--mesh-dir /no/such/folder is not a folder"),
        (["--mesh-dir", str(BOOKSTORE), "--certificate-manager", "vault"], "--certificate-manager vault is not supp"),
        (
            ["--mesh-name=osm", "--osm-namespace=osm-system", "--ca-bundle-secret-name=ca"],
            "neither --kubeconfig nor --mesh-dir (for one machine) is given",
        ),
    ],
)
def test_with_unsupported_flags_it_exits_with_1_and_logs_the_reason(
    flags: list[str], word: str, tmp_path: Path
) -> None:
    result = run_to_exit(
        "osm-controller", [*flags, "--http-port=0", "--ads-port=0", "--debug-port=0", "--ca-dir", str(tmp_path)]
    )
    assert result.returncode == 1
    last = json.loads(result.stderr.splitlines()[-1])
    assert last["message"] == "cannot start"
    assert word in last["error"]


def test_with_an_unknown_flag_it_exits_with_2_and_prints_the_usage() -> None:
    result = run_to_exit("osm-controller", ["--no-such-flag"])
    assert result.returncode == 2
    assert result.stderr.startswith("usage: osm-controller")


def test_an_invalid_manifest_is_logged_once_and_the_last_valid_mesh_is_served(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        manifest = tmp_path / "mesh" / "bookstore.yaml"
        good = manifest.read_text()
        manifest.write_text(good.replace("port: 80", "port: eighty", 1))
        error = program.logged("a manifest is invalid: the last good mesh stays in use")["error"]
        assert "bookstore.yaml" in error
        assert "port" in error
        assert program.get("/health/ready") == "Service is ready"
        until(lambda: "warn: the last good mesh is served since 20" in program.get("/health/ready?verbose"), within=2)
        assert "Z: errors in the mesh folder: 1\n" in program.get("/health/ready?verbose")
        assert error in program.debug("/health/ready?verbose")
        manifest.write_text(good)
        program.logged("the manifests are valid again")
        assert len(program.lines("a manifest is invalid: the last good mesh stays in use")) == 1


def test_without_a_valid_mesh_it_is_alive_but_not_ready_until_there_is_one(tmp_path: Path) -> None:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "mesh.yaml").write_text("kind: [")
    with running("osm-controller", tmp_path, mesh_dir=mesh) as program:
        until(lambda: program.get("/health/alive") == "Service is alive", within=15)
        assert program.get("/health/ready") == "Readiness probe for mesh indicates it is not ready"
        until(
            lambda: "[-]mesh failed: errors in the mesh folder: 1\n" in program.get("/health/ready?verbose"), within=2
        )
        assert f"[-]mesh failed: {mesh}/mesh.yaml: document 1, line 1: " in program.debug("/health/ready?verbose")
        (mesh / "mesh.yaml").write_text((BOOKSTORE / "mesh.yaml").read_text())
        program.until_ready()


def test_its_judge_ends_when_it_is_killed(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        port = program.http_port
        program.stop(signal.SIGKILL)
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), within=1)


def test_it_exits_within_its_grace_even_if_a_thread_hangs(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--grace=2s") as program:
        program.until_ready()
        # Reading this file takes many seconds in a thread that cannot be interrupted.
        (tmp_path / "mesh" / "large.yaml").write_text("kind: Other\nitems:\n" + "- a: [1, 2, 3]\n" * 500_000)
        time.sleep(0.7)
        started = time.monotonic()
        assert program.stop(within=10) == 0
        assert time.monotonic() - started < 3


def test_it_becomes_ready_with_a_closed_standard_input(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, where=("sh", "-c", 'exec "$@" <&-', "sh")) as program:
        program.until_ready()


def test_help_prints_the_usage_and_starts_nothing() -> None:
    assert run_to_exit("osm-controller", ["--help"]).stdout.startswith("usage: osm-controller [flags]")
