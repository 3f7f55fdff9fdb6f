"""`osm proxy list` and `osm proxy get` against running programs and real Envoy."""

import asyncio
import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER
from tests.ads.client import STREAM, Call, open_channel, read_message
from tests.ads.messages import SotwResponse, sotw_request
from tests.cli.command_result import CommandResult, run_osm
from tests.cli.control_plane_manifests import pod
from tests.cli.running_control_plane import RunningControlPlane
from tests.functional.programs import curl
from tests.kubernetes.manifests import install
from tests.standin import until

pytestmark = pytest.mark.kubernetes
PROXY = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))


async def test_connected_proxies_are_listed_with_accepted_and_rejected_versions(
    control_plane: RunningControlPlane,
) -> None:
    assert await asyncio.to_thread(run_osm, "proxy", "list", cluster=control_plane.cluster) == CommandResult(
        0, "No proxies are connected\n", ""
    )
    ca = control_plane.authority()
    certificate = ca.issue(PROXY.common_name("cluster.local"), validity=timedelta(hours=1))
    port = control_plane.programs["osm-controller-0"].served_port
    async with open_channel(port, certificate, root_pem=ca.root_pem) as channel, asyncio.timeout(30):
        call: Call = channel.stream_stream(STREAM)()
        await call.write(sotw_request(CLUSTER))
        clusters = SotwResponse(await read_message(call))
        await call.write(sotw_request(CLUSTER, nonce=clusters.nonce, version=clusters.version))
        await call.write(sotw_request(LISTENER))
        listeners = SotwResponse(await read_message(call))
        await call.write(sotw_request(LISTENER, nonce=listeners.nonce, error="no such filter"))
        result = CommandResult(0, "", "")
        while "no such filter" not in result.out:
            result = await asyncio.to_thread(run_osm, "proxy", "list", cluster=control_plane.cluster)
        lines = result.out.splitlines()
        assert [line.split() for line in lines] == [
            [
                *("POD", "SERVICE", "ACCOUNT", "CONTROLLER", "CONNECTED", "CDS", "EDS", "LDS", "RDS", "SDS"),
                *("PROBLEM", "LAST", "NACK"),
            ],
            [
                *("bookstore/bookstore-0", "bookstore", "osm-controller-0", lines[1].split()[3]),
                *(clusters.version[:8], "-", "-", "-", "-"),
                *("LDS", "is", "old", "since", lines[1].split()[13]),
                *("LDS", f"{listeners.version[:8]}:", "no", "such", "filter"),
            ],
        ]
        (row,) = json.loads(
            (await asyncio.to_thread(run_osm, "proxy", "list", "-o", "json", cluster=control_plane.cluster)).out
        )
        assert row["proxy"]["accepted"] == {"CDS": clusters.version}
        assert row["proxy"]["uuid"] == PROXY.uuid
        (rejecting,) = row["proxy"]["rejecting"]
        assert (rejecting["type"], rejecting["reason"]) == ("LDS", "no such filter")
        since = datetime.fromisoformat(rejecting["since"])
        assert abs((datetime.now(UTC) - since).total_seconds()) < 120
        assert lines[1].split()[13] == since.strftime("%Y-%m-%dT%H:%M:%SZ")
        verified = await asyncio.to_thread(run_osm, "verify", "control-plane", cluster=control_plane.cluster)
        assert f"bookstore/bookstore-0: LDS is old since {since:%Y-%m-%dT%H:%M:%SZ}: the proxy rejected" in verified.out
        metrics = control_plane.programs["osm-controller-0"].get("/metrics")
        while 'osm_proxy_rejecting_count{type="LDS"} 1.0' not in metrics:
            metrics = await asyncio.to_thread(control_plane.programs["osm-controller-0"].get, "/metrics")
        call.cancel()


def test_a_controller_that_does_not_respond_is_an_error(control_plane: RunningControlPlane) -> None:
    result = run_osm("proxy", "list", "--osm-namespace", "default", cluster=control_plane.cluster)
    assert result == CommandResult(1, "", "Error: no pods of osm-controller found: see osm mesh list\n")
    program = control_plane.programs["osm-controller-0"]
    program.process.send_signal(signal.SIGSTOP)
    try:
        result = run_osm("proxy", "list", cluster=control_plane.cluster)
    finally:
        program.process.send_signal(signal.SIGCONT)
    text = "Error: cannot list the proxies of osm-controller-0: the program does not answer\n"
    assert result == CommandResult(1, "", text)


def test_an_older_controller_is_asked_on_its_probe_port(control_plane: RunningControlPlane) -> None:
    """The older controller is a page of its form on a port of this machine."""
    proxy = {
        "uuid": PROXY.uuid,
        "namespace": "bookstore",
        "serviceAccount": "bookstore",
        "pod": "bookstore-0",
        "protocol": "state of the world",
        "connected": 61.0,
        "accepted": {"CDS": "0123456789"},
    }
    page = json.dumps({"count": 1, "proxies": [proxy]}).encode()
    with http_server(page) as port:
        document = pod("osm-controller-old", app="osm-controller", namespace="osm-system", mesh="osm", port=port)
        install(control_plane.cluster, [document])
        try:
            result = run_osm("proxy", "list", cluster=control_plane.cluster)
        finally:
            control_plane.cluster.delete(document)
    assert (result.status, result.err) == (0, "")
    (row,) = [line.split() for line in result.out.splitlines() if "osm-controller-old" in line]
    assert row[:5] == ["bookstore/bookstore-0", "bookstore", "osm-controller-old", "61s", "01234567"]


def test_a_controller_without_its_debug_port_is_an_error_that_names_the_port(
    control_plane: RunningControlPlane,
) -> None:
    port = control_plane.kubelet.ports.pop(("osm-controller-0", 9092))
    try:
        result = run_osm("proxy", "list", cluster=control_plane.cluster)
    finally:
        control_plane.kubelet.ports["osm-controller-0", 9092] = port
    assert result == CommandResult(
        1,
        "",
        "Error: cannot list the proxies of osm-controller-0: port 9092 of pod osm-system/osm-controller-0: "
        "dial tcp4 127.0.0.1:9092: connect: connection refused\n",
    )


@contextlib.contextmanager
def http_server(page: bytes) -> Iterator[int]:
    """A server of one page on all addresses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def admin_port(envoy: Path, folder: Path) -> Iterator[int]:
    """Run a real Envoy; yield the number of its admin port."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    clusters = [{"name": "shop", "type": "STATIC", "load_assignment": {"cluster_name": "shop"}}]
    config = {"admin": {"address": address}, "static_resources": {"clusters": clusters}}
    config_file, address_file = folder / "envoy.json", folder / "admin-address"
    config_file.write_text(json.dumps(config))
    flags = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "--admin-address-path", str(address_file))
    process = subprocess.Popen([str(envoy), "-c", str(config_file), *flags], stdin=subprocess.DEVNULL)
    try:
        until(lambda: address_file.exists() and curl(f"http://{address_file.read_text()}/ready") == "LIVE\n", within=20)
        yield int(address_file.read_text().rpartition(":")[2])
    finally:
        process.kill()
        process.wait()


@pytest.mark.envoy
def test_the_admin_port_is_reached_on_the_pods_loopback(
    control_plane: RunningControlPlane, envoy: Path, tmp_path: Path
) -> None:
    with admin_port(envoy, tmp_path) as port:
        control_plane.kubelet.ports["bookstore-0", 15000] = port
        result = run_osm("proxy", "get", "clusters", "bookstore/bookstore-0", cluster=control_plane.cluster)
        assert (result.status, result.err) == (0, "")
        assert "shop::default_priority::max_connections::1024\n" in result.out
        dump = run_osm("proxy", "get", "config_dump", "bookstore-0", "-n", "bookstore", cluster=control_plane.cluster)
        assert json.loads(dump.out)["configs"][0]["bootstrap"]["static_resources"]["clusters"][0]["name"] == "shop"
        assert json.loads(
            run_osm("proxy", "get", "certs", "bookstore/bookstore-0", cluster=control_plane.cluster).out
        ) == {"certificates": []}
    refused = run_osm("proxy", "get", "certs", "bookstore/bookstore-0", cluster=control_plane.cluster)
    assert refused == CommandResult(
        1,
        "",
        "Error: proxy of pod bookstore/bookstore-0: port 15000 of pod bookstore/bookstore-0: "
        "dial tcp4 127.0.0.1:15000: connect: connection refused\n",
    )


def test_a_missing_pod_is_an_error(control_plane: RunningControlPlane) -> None:
    result = run_osm("proxy", "get", "certs", "bookstore/nobody", cluster=control_plane.cluster)
    assert result == CommandResult(1, "", 'Error: proxy of pod bookstore/nobody: pods "nobody" not found\n')
