"""A kubelet, as far as an API server needs one for logs: nothing here runs pods."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install
from tests.kubernetes.pki import ClusterPki

NODE = "node-1"


@dataclass
class Kubelet:
    """What containers said, by pod and container: now, and before their last restart."""

    logs: dict[tuple[str, str], Path] = field(default_factory=dict)
    previous: dict[tuple[str, str], str] = field(default_factory=dict)

    def log(self, path: str) -> bytes | None:
        """What is answered to a request for a log."""
        parts = urlsplit(path)
        # /containerLogs/NAMESPACE/POD/CONTAINER
        *_, pod, container = parts.path.split("/")
        if "previous" in parse_qs(parts.query):
            said = self.previous.get((pod, container))
            return None if said is None else said.encode()
        file = self.logs.get((pod, container))
        return b"" if file is None else file.read_bytes()


@contextlib.contextmanager
def running_kubelet(cluster: ApiServer, *, folder: Path) -> Iterator[Kubelet]:
    """The kubelet of the cluster's one node."""
    kubelet = Kubelet()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = kubelet.log(self.path)
            self.send_response(404 if said is None else 200)
            self.end_headers()
            self.wfile.write(said or b"")

        def log_message(self, *_: object) -> None:
            pass

    pki = ClusterPki(folder, addresses=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.folder / "apiserver.crt", pki.folder / "apiserver.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_address[1]}},
        },
    }
    install(cluster, [node])
    try:
        yield kubelet
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
