"""A real etcd and kube-apiserver as processes, which tests can start, kill, stop and query as administrator."""

import base64
import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.kubernetes.pki import ClusterPki
from tools.kubernetes_binaries import kubernetes_binaries

ADMIN: Final = "admin"
SERVICE_RANGE: Final = "10.96.0.0/16"
_READY_WITHIN: Final = 45.0  # below the time limit of a test, so that the failure names the reason


class ApiServerError(Exception):
    """The API server did not start or rejected a request. status: of the response; 0 if there was none."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ApiServer:
    """An API server with its etcd. Stored objects survive a restart of the API server.

    command_prefix: arguments before each command, such as to enter a network namespace; it must exec the program.
    run_in_network: calls a function in the network of `command_prefix`; needed if that is another network.
    flags: of kube-apiserver, in place of the defaults here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        command_prefix: Sequence[str] = (),
        run_in_network: Callable[[Callable[[], Any]], Any] = lambda call: call(),
        flags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._run_in_network = run_in_network
        self._address = address
        self._command_prefix = command_prefix
        self._flags_override = flags
        self._binaries = kubernetes_binaries()
        self.port, *self._etcd_ports = free_ports(3)
        self.url = f"https://{address}:{self.port}"
        self.pki = ClusterPki(folder / "pki", addresses=["127.0.0.1", "10.96.0.1", address])
        self.kubeconfig = self.kubeconfig_for(ADMIN, "system:masters")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # PR_SET_PDEATHSIG (prctl(2)) fires when the thread that started the process ends; this thread lasts.
        self._starter = ThreadPoolExecutor(1, "api-server")

    def kubeconfig_for(self, user: str, *groups: str, url: str = "") -> Path:
        """A kubeconfig with a client certificate of this user. url: in place of the API server's own."""
        return self.pki.kubeconfig(url or self.url, user, *groups)

    def start(self, *arguments: str) -> None:
        """Start the API server, and etcd if it is not running; returns when it is ready. arguments: more flags."""
        if "etcd" not in self._processes:
            self._spawn("etcd", *self._etcd_flags())
        self._spawn("kube-apiserver", *self._flags(), *arguments)
        end = time.monotonic() + _READY_WITHIN
        while not self._is_ready():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise ApiServerError(f"{name} exited: {self._last_line(name)}")
            if time.monotonic() > end:
                raise ApiServerError(f"not ready within {_READY_WITHIN:g} s: {self._last_line('kube-apiserver')}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the API server; etcd keeps running."""
        process = self._processes.pop("kube-apiserver")
        process.kill()
        process.wait()

    def hang(self) -> None:
        """Send SIGSTOP: connections stay open, but there are no responses."""
        self._processes["kube-apiserver"].send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self._processes["kube-apiserver"].send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill all processes."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        self._starter.shutdown()

    def delete_from_etcd(self, key: str) -> None:
        """Delete an object such as serviceaccounts/shop/one without an API server, so that no watch sees it."""
        path = f"/registry/{key}".encode()
        if "deleted" not in self._etcd("deleterange", {"key": base64.b64encode(path).decode()}):
            raise ApiServerError(f"etcd has no /registry/{key}")

    def compact(self) -> None:
        """Compact etcd to its newest revision, so that older watches and pages get 410."""
        newest = self._etcd("range", {"key": "AA=="})["header"]["revision"]
        self._etcd("compaction", {"revision": newest, "physical": True})

    def _etcd(self, verb: str, body: object) -> Any:
        return self._run_in_network(lambda: self._request_etcd(verb, body))

    def _request_etcd(self, verb: str, body: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd_ports[0], timeout=5)
        with contextlib.closing(connection):
            connection.request("POST", f"/v3/kv/{verb}", json.dumps(body))
            return json.loads(connection.getresponse().read())

    def request(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json", within: float = 15
    ) -> dict[str, Any]:
        """Send a request as administrator; the decoded response. Raises ApiServerError."""
        response: dict[str, Any] = self._run_in_network(
            lambda: self._request(method, path, body, content_type=content_type, within=within)
        )
        return response

    def watch_events(self, path: str, *, since: str) -> list[dict[str, Any]]:
        """The events of a watch from this resourceVersion on, the oldest first."""
        query = f"{path}?watch=1&timeoutSeconds=1&resourceVersion={since}"
        text = self._run_in_network(lambda: self._send("GET", query, None, content_type="application/json", within=15))
        return [json.loads(line) for line in text.splitlines()]

    def _request(self, method: str, path: str, body: object, *, content_type: str, within: float) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self._send(method, path, body, content_type=content_type, within=within))
        return decoded

    def _send(self, method: str, path: str, body: object, *, content_type: str, within: float) -> bytes:
        context = ssl.create_default_context(cadata=self.pki.root_pem.decode())
        context.load_cert_chain(self.pki.folder / f"{ADMIN}.crt", self.pki.folder / f"{ADMIN}.key")
        connection = http.client.HTTPSConnection(self._address, self.port, timeout=within, context=context)
        with contextlib.closing(connection):
            content = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": content_type})
            response = connection.getresponse()
            text = response.read()
        if response.status >= 400:
            message = json.loads(text).get("message", "") if text.startswith(b"{") else text.decode()
            raise ApiServerError(f"{method} {path}: {response.status} {message}", status=response.status)
        return text

    def eventually(self, method: str, path: str, body: object = None, *, within: float = 20.0) -> dict[str, Any]:
        """Retry a request until it succeeds: a new kind or namespace is served only after a moment."""
        end = time.monotonic() + within
        while True:
            try:
                return self.request(method, path, body)
            except ApiServerError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        """Create the object of a manifest."""
        return self.request("POST", path_of(document), document)

    def create_from_json(self, path: str, content: bytes) -> None:
        """Create an object from JSON that Python's module cannot encode or decode."""
        self._run_in_network(lambda: self._send("POST", path, content, content_type="application/json", within=15))

    def delete(self, document: dict[str, Any]) -> None:
        """Delete the object of a manifest, without a grace period."""
        self.request("DELETE", f"{path_of(document)}/{document['metadata']['name']}", {"gracePeriodSeconds": 0})

    def _is_ready(self) -> bool:
        try:
            self.request("GET", "/readyz?verbose=false")
        except json.JSONDecodeError:
            return True  # its body is `ok`, which is no JSON
        except (ApiServerError, OSError, http.client.HTTPException):
            return False
        return True

    def _spawn(self, name: str, *flags: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            started = self._starter.submit(
                subprocess.Popen,
                # It is killed when this process ends for any reason.
                [*self._command_prefix, "setpriv", "--pdeathsig", "KILL", str(self._binaries / name), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._processes[name] = started.result()

    def _last_line(self, name: str) -> str:
        lines = (self._folder / f"{name}.log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "no line in its log"

    def _etcd_flags(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        return [
            *("--name=local", f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=local={peer}"),
        ]

    def _flags(self) -> list[str]:
        files = self.pki.folder
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_ports[0]}",
            "bind-address": self._address,
            "advertise-address": self._address,
            "secure-port": str(self.port),
            "service-cluster-ip-range": SERVICE_RANGE,
            "endpoint-reconciler-type": "none",
            "authorization-mode": "RBAC",
            "allow-privileged": "true",
            # No controller manager creates the service accounts that this plugin requires.
            "disable-admission-plugins": "ServiceAccount",
            "tls-cert-file": f"{files / 'apiserver.crt'}",
            "tls-private-key-file": f"{files / 'apiserver.key'}",
            "client-ca-file": f"{files / 'ca.crt'}",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": f"{files / 'accounts.key'}",
            "service-account-signing-key-file": f"{files / 'accounts.key'}",
            "profiling": "false",
        }
        return [f"--{name}={value}" for name, value in {**flags, **self._flags_override}.items()]


@contextlib.contextmanager
def running_api_server(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    command_prefix: Sequence[str] = (),
    run_in_network: Callable[[Callable[[], Any]], Any] = lambda call: call(),
    arguments: Sequence[str] = (),
) -> Iterator[ApiServer]:
    """A ready API server; all processes end with the block, or with this process.

    command_prefix, run_in_network: see ApiServer. arguments: more flags of kube-apiserver.
    """
    server = ApiServer(folder, address=address, command_prefix=command_prefix, run_in_network=run_in_network)
    try:
        server.start(*arguments)
        yield server
    finally:
        server.end()


_CLUSTER_WIDE: Final = {
    "Namespace",
    "Node",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
}
_PLURALS: Final = {"NetworkPolicy": "networkpolicies", "Endpoints": "endpoints"}


def path_of(document: dict[str, Any]) -> str:
    """The path to create this object at."""
    version, kind = document["apiVersion"], document["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    if kind in _CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{document['metadata'].get('namespace', 'default')}/{plural}"


def free_ports(number: int) -> list[int]:
    """TCP ports of this machine that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [free.getsockname()[1] for free in sockets]
