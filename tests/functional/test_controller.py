"""osm-controller as a process, asked over real sockets."""

import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from osm_probes.pki.authority import Authority
from tests.functional.programs import BOOKSTORE, ended, running
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


def test_sigterm_makes_it_unready_at_once_while_it_drains_then_ends_it_with_0(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--drain-delay=2s") as program:
        program.until_ready()
        ads = program.served_port
        started = time.monotonic()
        program.process.terminate()
        until(lambda: "503" in program.get("/health/ready", "-i"), within=1)
        assert program.get("/health/ready") == "Readiness probe for draining indicates it is not ready"
        assert program.get("/health/alive") == "Service is alive"
        with socket.create_connection(("127.0.0.1", ads), 1):
            pass  # proxies are still let in
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
            "reading the mesh from Kubernetes is not built yet",
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
        (mesh / "mesh.yaml").write_text((BOOKSTORE / "mesh.yaml").read_text())
        program.until_ready()


def test_killed_it_takes_its_judge_along(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        port = program.http_port
        program.stop(signal.SIGKILL)
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), within=1)


def test_a_private_key_is_never_logged(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--verbosity=trace") as program:
        program.until_ready()
        program.stop()
        log = program.log.read_text()
    assert "PRIVATE" not in log
    assert "BEGIN" not in log


def test_help_starts_nothing() -> None:
    assert ended("osm-controller", ["--help"]).stdout.startswith("usage: osm-controller [flags]")
