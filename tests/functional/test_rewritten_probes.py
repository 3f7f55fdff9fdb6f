"""Rewritten application probes, sent as a kubelet sends them, to a real Envoy in front of real applications."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from tests.builders import identity, secrets

pytestmark = pytest.mark.envoy

_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod's ports. ports: the port in the rewritten probe -> the port where this test's Envoy listens for it.

    tcp, closed: the application's open port and a port where nothing listens.
    """

    ports: dict[int, int]
    tcp: int
    closed: int

    def request(self, probe: RewrittenProbe, **headers: str) -> tuple[int, str]:
        return self.get(probe.sidecar_port, probe.sidecar_path, **headers)

    def get(self, port: int, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=5)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


class Application(BaseHTTPRequestHandler):
    """Returns the request's path and headers as JSON; the status is 500 for /bad."""

    def do_GET(self) -> None:
        received = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        body = json.dumps(received).encode()
        self.send_response(500 if self.path == "/bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Write no log."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def application(folder: Path | None = None) -> Iterator[int]:
    """An HTTP server; with a folder for its certificate, an HTTPS server. Yields its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = folder / "server.pem"
        own = secrets()
        pem.write_bytes(own.chain_pem + own.key_pem)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def grpc_application() -> Iterator[int]:
    """A gRPC server whose health service always returns SERVING. Yields its port."""

    def check(_request: bytes, _context: Any) -> bytes:
        return _SERVING

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(check)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(5)


def probes_of(web: int, tls: int, rpc: int, tcp: int, closed: int) -> dict[str, RewrittenProbe]:
    return {
        "live": RewrittenProbe(ProbeKind.LIVENESS, "app", ProbeScheme.HTTP, web, "/live?deep=1"),
        "bad": RewrittenProbe(ProbeKind.LIVENESS, "helper", ProbeScheme.HTTP, web, "/bad"),
        "ready": RewrittenProbe(ProbeKind.READINESS, "app", ProbeScheme.HTTPS, tls, "ready"),
        "gone": RewrittenProbe(ProbeKind.STARTUP, "app", ProbeScheme.HTTP, closed, "/"),
        "grpc": RewrittenProbe(ProbeKind.LIVENESS, "rpc", ProbeScheme.GRPC, rpc),
        "tcp": RewrittenProbe(ProbeKind.LIVENESS, "db", ProbeScheme.TCP, tcp),
        "tcp-closed": RewrittenProbe(ProbeKind.STARTUP, "db", ProbeScheme.TCP, closed),
    }


@contextlib.contextmanager
def running(envoy: Path, bootstrap_document: dict[str, Any], *, folder: Path) -> Iterator[None]:
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(bootstrap_document))
    command: list[str | Path] = [envoy, "--disable-hot-restart", "--concurrency", "1", "-l", "error", "-c", path]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def pod(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pod, dict[str, RewrittenProbe]]]:
    folder = tmp_path_factory.mktemp("pod")
    with (
        application() as web,
        application(folder) as tls,
        grpc_application() as rpc,
        socket.create_server(("127.0.0.1", 0)) as db,
    ):
        tcp, closed = db.getsockname()[1], free_port()
        probes = probes_of(web, tls, rpc, tcp, closed)
        proxy = ProxyName("00000000-0000-0000-0000-000000000001", SIDECAR, identity())
        bootstrap_document = build_bootstrap(
            proxy,
            trust_domain="cluster.local",
            ads=AdsTarget("127.0.0.1", free_port(), "osm-controller"),
            secrets=secrets(),
            app_probes=tuple(probes.values()),
        )
        document = json.loads(bootstrap_document)
        ports = on_free_ports(document)
        with running(envoy, document, folder=folder):
            running_pod = Pod(ports, tcp, closed)
            eventually(lambda: running_pod.request(probes["tcp"])[0] == 200)
            yield running_pod, probes


def on_free_ports(document: dict[str, Any]) -> dict[int, int]:
    """Put the listeners on free ports of loopback, so that several test runs can share a machine; old port -> new."""
    document["admin"]["address"]["socket_address"]["port_value"] = free_port()
    ports = {}
    for listener in document["static_resources"]["listeners"]:
        address = listener["address"]["socket_address"]
        address["address"] = "127.0.0.1"
        ports[address["port_value"]] = address["port_value"] = free_port()
    return ports


def eventually(condition: Callable[[], bool], *, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        assert time.monotonic() < end
        time.sleep(0.02)


PodAndProbes = tuple[Pod, dict[str, RewrittenProbe]]


def test_the_application_receives_the_path_and_headers_of_its_own_probe(pod: PodAndProbes) -> None:
    status, text = pod[0].request(pod[1]["live"], **{"X-Custom": "mine", "User-Agent": "kube-probe/1.33"})
    received = json.loads(text)
    assert (status, received["path"]) == (200, "/live?deep=1")
    assert received["headers"] == {
        "host": received["headers"]["host"],
        "accept-encoding": "identity",
        "x-custom": "mine",
        "user-agent": "kube-probe/1.33",
        "x-forwarded-proto": "http",
    }


def test_probes_of_two_containers_in_a_pod_are_distinct(pod: PodAndProbes) -> None:
    assert [pod[0].request(pod[1][name])[0] for name in ("live", "bad")] == [200, 500]


def test_an_https_probe_does_not_verify_the_certificate_like_the_kubelet(pod: PodAndProbes) -> None:
    status, text = pod[0].request(pod[1]["ready"])
    assert (status, json.loads(text)["path"]) == (200, "/ready")


def test_the_probe_of_an_application_that_does_not_listen_returns_503(pod: PodAndProbes) -> None:
    assert pod[0].request(pod[1]["gone"])[0] == 503


@pytest.mark.parametrize("path", ["/", "/live", "/osm-liveness-probe", "/osm-liveness-probe/app/../x"])
def test_other_paths_of_the_application_are_not_reachable_through_the_probe_port(pod: PodAndProbes, path: str) -> None:
    assert pod[0].get(15901, path)[0] == 404


def test_a_grpc_probe_reaches_its_service(pod: PodAndProbes) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{pod[0].ports[15905]}") as channel:
        check: Any = channel.unary_unary(_CHECK)
        other: Any = channel.unary_unary("/shop.Books/Buy")
        assert check(b"", timeout=5) == _SERVING
        with pytest.raises(grpc.RpcError):
            other(b"", timeout=5)


def test_a_tcp_probe_succeeds_exactly_while_its_port_is_open(pod: PodAndProbes) -> None:
    running_pod, probes = pod
    assert running_pod.request(probes["tcp-closed"])[0] == 503
    with socket.create_server(("127.0.0.1", running_pod.closed)):
        eventually(lambda: running_pod.request(probes["tcp-closed"])[0] == 200)
    eventually(lambda: running_pod.request(probes["tcp-closed"])[0] == 503)
    assert running_pod.get(15904, "/osm-healthcheck/1")[0] == 404
