"""Rewritten probes, asked of a real Envoy with real applications behind it, as the kubelet asks."""

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
from osm_probes.xds.bootstrap import AdsTarget, bootstrap
from tests.builders import identity, secrets

pytestmark = pytest.mark.envoy

_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"


@dataclass(frozen=True, slots=True)
class Pod:
    """Where Envoy answers for which probed port, by the port that the kubelet would ask."""

    ports: dict[int, int]
    tcp: int
    closed: int

    def ask(self, probe: RewrittenProbe, **headers: str) -> tuple[int, str]:
        return self.get(probe.listening_port, probe.listening_path, **headers)

    def get(self, port: int, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=5)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


class Application(BaseHTTPRequestHandler):
    """Answers with what it was asked; /bad is 500."""

    def do_GET(self) -> None:
        asked = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        body = json.dumps(asked).encode()
        self.send_response(500 if self.path == "/bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep silent."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def application(folder: Path | None = None) -> Iterator[int]:
    """An HTTP server, with TLS if there is a folder for its certificate."""
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
    """A gRPC server with a health service that always serves."""

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
def running(envoy: Path, start: dict[str, Any], *, folder: Path) -> Iterator[None]:
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(start))
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
        start = bootstrap(
            proxy,
            trust_domain="cluster.local",
            ads=AdsTarget("127.0.0.1", free_port(), "osm-controller"),
            secrets=secrets(),
            probes=tuple(probes.values()),
            probe_address="127.0.0.1",
        )
        document = json.loads(start)
        ports = on_free_ports(document)
        with running(envoy, document, folder=folder):
            made = Pod(ports, tcp, closed)
            eventually(lambda: made.ask(probes["tcp"])[0] == 200)
            yield made, probes


def on_free_ports(document: dict[str, Any]) -> dict[int, int]:
    """Several tests may run side by side: Envoy listens elsewhere than the kubelet expects it."""
    document["admin"]["address"]["socket_address"]["port_value"] = free_port()
    ports = {}
    for listener in document["static_resources"]["listeners"]:
        address = listener["address"]["socket_address"]
        ports[address["port_value"]] = address["port_value"] = free_port()
    return ports


def eventually(true: Callable[[], bool], *, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while True:
        with contextlib.suppress(OSError):
            if true():
                return
        assert time.monotonic() < end
        time.sleep(0.02)


Answering = tuple[Pod, dict[str, RewrittenProbe]]


def test_the_application_gets_the_path_and_headers_of_its_own_probe(pod: Answering) -> None:
    status, text = pod[0].ask(pod[1]["live"], **{"X-Custom": "mine", "User-Agent": "kube-probe/1.33"})
    asked = json.loads(text)
    assert (status, asked["path"]) == (200, "/live?deep=1")
    assert asked["headers"] == {
        "host": asked["headers"]["host"],
        "accept-encoding": "identity",
        "x-custom": "mine",
        "user-agent": "kube-probe/1.33",
        "x-forwarded-proto": "http",
    }


def test_two_containers_of_a_pod_are_told_apart(pod: Answering) -> None:
    assert [pod[0].ask(pod[1][name])[0] for name in ("live", "bad")] == [200, 500]


def test_https_is_asked_without_verification_as_the_kubelet_does(pod: Answering) -> None:
    status, text = pod[0].ask(pod[1]["ready"])
    assert (status, json.loads(text)["path"]) == (200, "/ready")


def test_an_application_that_does_not_listen_fails_its_probe(pod: Answering) -> None:
    assert pod[0].ask(pod[1]["gone"])[0] == 503


@pytest.mark.parametrize("path", ["/", "/live", "/osm-liveness-probe", "/osm-liveness-probe/app/../x"])
def test_the_rest_of_the_application_is_not_reached(pod: Answering, path: str) -> None:
    assert pod[0].get(15901, path)[0] == 404


def test_a_grpc_probe_reaches_its_service(pod: Answering) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{pod[0].ports[15905]}") as channel:
        check: Any = channel.unary_unary(_CHECK)
        other: Any = channel.unary_unary("/shop.Books/Buy")
        assert check(b"", timeout=5) == _SERVING
        with pytest.raises(grpc.RpcError):
            other(b"", timeout=5)


def test_a_tcp_probe_follows_its_port(pod: Answering) -> None:
    made, probes = pod
    assert made.ask(probes["tcp-closed"])[0] == 503
    with socket.create_server(("127.0.0.1", made.closed)):
        eventually(lambda: made.ask(probes["tcp-closed"])[0] == 200)
    eventually(lambda: made.ask(probes["tcp-closed"])[0] == 503)
    assert made.get(15904, "/osm-healthcheck/1")[0] == 404
