"""osm-controller as a process, asked over real sockets."""

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
from tests.ads.dial import STREAM, Call, dialled, read
from tests.ads.messages import asks
from tests.functional.programs import BOOKSTORE, Program, ended, running
from tests.standin import until

_DATE = re.compile(r"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n")
_HEAD = "HTTP/1.1 200 OK\r\nDate: …\r\nContent-Length: 16\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"


def test_a_mesh_folder_is_all_it_needs_to_be_alive_and_ready(tmp_path: Path) -> None:
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


def test_who_asks_while_it_listens_and_starts_waits_as_its_proxies_do(tmp_path: Path) -> None:
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


async def _is_served(program: Program, folder: Path) -> None:
    """A proxy that dials now gets a stream and its clusters."""
    authority = load_authority(folder / "ca")
    name = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))
    certificate = authority.issue(name.common_name("cluster.local"), validity=timedelta(hours=1))
    async with asyncio.timeout(1), dialled(program.served_port, certificate, root_pem=authority.root_pem) as channel:
        call: Call = channel.stream_stream(STREAM)()
        await call.write(asks(CLUSTER))
        await read(call)
        call.cancel()


def test_sigterm_makes_it_unready_at_once_while_it_drains_then_ends_it_with_0(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--drain-delay=2s") as program:
        program.until_ready()
        started = time.monotonic()
        program.process.terminate()
        until(lambda: "503" in program.get("/health/ready", "-i"), within=1)
        assert program.get("/health/ready") == "Readiness probe for draining indicates it is not ready"
        assert program.get("/health/alive") == "Service is alive"
        asyncio.run(_is_served(program, tmp_path))  # proxies are still let in
        assert program.process.wait(10) == 0
        assert 2.0 <= time.monotonic() - started < 6.0


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--drain-delay=10s") as program:
        program.until_ready()
        program.process.terminate()
        program.logged("phase", phase="DRAINING")
        assert program.stop(within=2) == 128 + signal.SIGTERM


def test_sigterm_before_it_has_served_ends_it_at_once_with_0(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--drain-delay=10s") as program:
        program.logged("listening", component="probes")
        assert program.stop(within=2) == 0


def test_a_taken_ads_port_ends_it_with_1_and_one_line(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with running("osm-controller", tmp_path, f"--ads-port={port}") as program:
            assert program.process.wait(15) == 1
            line = program.logged("cannot start")
            assert line["level"] == "fatal"
            assert f"port {port} of the ADS is taken" in line["error"]


def test_a_taken_probe_port_ends_it_with_1_and_one_line(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with running("osm-controller", tmp_path, f"--http-port={port}") as program:
            assert program.process.wait(15) == 1
            assert f"port {port}" in program.logged("cannot start")["error"]
            assert len(program.log.read_text().splitlines()) == 1


def test_a_ca_folder_with_a_mismatched_key_refuses_to_start_and_overwrites_nothing(tmp_path: Path) -> None:
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
        (["--mesh-dir", "/no/such/folder"], "--mesh-dir /no/such/folder is no folder"),
        (["--mesh-dir", str(BOOKSTORE), "--certificate-manager", "vault"], "--certificate-manager vault is not supp"),
        (
            ["--mesh-name=osm", "--osm-namespace=osm-system", "--ca-bundle-secret-name=ca"],
            "no --kubeconfig (or, on one machine, --mesh-dir) is given",
        ),
    ],
)
def test_what_it_cannot_do_ends_it_with_1_and_one_line(flags: list[str], word: str, tmp_path: Path) -> None:
    end = ended("osm-controller", [*flags, "--http-port=0", "--ads-port=0", "--ca-dir", str(tmp_path)])
    assert end.returncode == 1
    last = json.loads(end.stderr.splitlines()[-1])
    assert last["message"] == "cannot start"
    assert word in last["error"]


def test_a_wrong_flag_ends_it_with_2_and_the_usage() -> None:
    end = ended("osm-controller", ["--no-such-flag"])
    assert end.returncode == 2
    assert end.stderr.startswith("usage: osm-controller")


def test_a_broken_manifest_is_one_error_and_the_last_good_mesh_stays(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        manifest = tmp_path / "mesh" / "bookstore.yaml"
        good = manifest.read_text()
        manifest.write_text(good.replace("port: 80", "port: eighty", 1))
        error = program.logged("a manifest cannot be used: the last good mesh stays")["error"]
        assert "bookstore.yaml" in error
        assert "port" in error
        assert program.get("/health/ready") == "Service is ready"
        until(lambda: "warn: the last good mesh is served: " in program.get("/health/ready?verbose"), within=2)
        manifest.write_text(good)
        program.logged("the manifests are good again")
        assert len(program.lines("a manifest cannot be used: the last good mesh stays")) == 1


def test_without_a_readable_mesh_it_is_alive_and_not_ready_until_there_is_one(tmp_path: Path) -> None:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "mesh.yaml").write_text("kind: [")
    with running("osm-controller", tmp_path, mesh_dir=mesh) as program:
        until(lambda: program.get("/health/alive") == "Service is alive", within=15)
        assert program.get("/health/ready") == "Readiness probe for mesh indicates it is not ready"
        until(
            lambda: "[-]mesh failed: " in (said := program.get("/health/ready?verbose")) and "mesh.yaml" in said,
            within=2,
        )
        (mesh / "mesh.yaml").write_text((BOOKSTORE / "mesh.yaml").read_text())
        program.until_ready()


def test_killed_it_takes_its_judge_along(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        port = program.http_port
        program.stop(signal.SIGKILL)
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), within=1)


def test_it_ends_within_its_grace_whatever_still_hangs(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--grace=2s") as program:
        program.until_ready()
        # It takes many seconds to read, in a thread that nothing can interrupt.
        (tmp_path / "mesh" / "large.yaml").write_text("kind: Other\nitems:\n" + "- a: [1, 2, 3]\n" * 500_000)
        time.sleep(0.7)
        started = time.monotonic()
        assert program.stop(within=10) == 0
        assert time.monotonic() - started < 3


def test_a_closed_standard_input_costs_no_port(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, where=("sh", "-c", 'exec "$@" <&-', "sh")) as program:
        program.until_ready()


def test_help_starts_nothing() -> None:
    assert ended("osm-controller", ["--help"]).stdout.startswith("usage: osm-controller [flags]")
