"""A real etcd and kube-apiserver as processes: started, broken in every way, asked as the administrator."""

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
_READY_WITHIN: Final = 45.0  # less than a test has, so that the reason is told


class ApiServerError(Exception):
    """The API server did not start, or refused a request; `status` is HTTP's, 0 if there was no answer."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ApiServer:
    """A running API server with its etcd; what it stores outlives its process.

    where: what commands begin with, such as what enters a network namespace; it must become the program. reach: does
    something there, such as a request; needed where `where` is another network. flags: those of kube-apiserver that are
    other than here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        where: Sequence[str] = (),
        reach: Callable[[Callable[[], Any]], Any] = lambda work: work(),
        flags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._reach = reach
        self._address = address
        self._where = where
        self._other_flags = flags
        self._binaries = kubernetes_binaries()
        self.port, *self._etcd_ports = _free_ports(3)
        self.url = f"https://{address}:{self.port}"
        self.pki = ClusterPki(folder / "pki", addresses=["127.0.0.1", "10.96.0.1", address])
        self.kubeconfig = self.kubeconfig_for(ADMIN, "system:masters")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # PR_SET_PDEATHSIG (prctl(2)) is about the thread that started the process: this one lasts, a caller's may not.
        self._starter = ThreadPoolExecutor(1, "api-server")

    def kubeconfig_for(self, user: str, *groups: str, url: str = "") -> Path:
        """A kubeconfig with a client certificate of this user; `url` where it is not the API server's own."""
        return self.pki.kubeconfig(url or self.url, user, *groups)

    def start(self, *arguments: str) -> None:
        """Start what does not run; returns when it is ready. `arguments`: more flags of kube-apiserver."""
        if "etcd" not in self._processes:
            self._spawn("etcd", *self._etcd_flags())
        self._spawn("kube-apiserver", *self._flags(), *arguments)
        end = time.monotonic() + _READY_WITHIN
        while not self._is_ready():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise ApiServerError(f"{name} ended: {self._last_line(name)}")
            if time.monotonic() > end:
                raise ApiServerError(f"not ready within {_READY_WITHIN:g} s: {self._last_line('kube-apiserver')}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the API server at once; etcd stays."""
        process = self._processes.pop("kube-apiserver")
        process.kill()
        process.wait()

    def hang(self) -> None:
        """Stop it where it is: connections stay, nothing is answered."""
        self._processes["kube-apiserver"].send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._processes["kube-apiserver"].send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End all."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        self._starter.shutdown()

    def remove(self, key: str) -> None:
        """Delete an object in etcd, such as serviceaccounts/shop/one, so that no API server sees it happen."""
        path = f"/registry/{key}".encode()
        if "deleted" not in self._etcd("deleterange", {"key": base64.b64encode(path).decode()}):
            raise ApiServerError(f"etcd has no /registry/{key}")

    def compact(self) -> None:
        """Let etcd forget all versions but the newest, so that older watches and pages get 410."""
        newest = self._etcd("range", {"key": "AA=="})["header"]["revision"]
        self._etcd("compaction", {"revision": newest, "physical": True})

    def _etcd(self, verb: str, body: object) -> Any:
        return self._reach(lambda: self._ask_etcd(verb, body))

    def _ask_etcd(self, verb: str, body: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd_ports[0], timeout=5)
        with contextlib.closing(connection):
            connection.request("POST", f"/v3/kv/{verb}", json.dumps(body))
            return json.loads(connection.getresponse().read())

    def request(
        self, method: str, path: str, body: object = None, *, form: str = "application/json", within: float = 15
    ) -> dict[str, Any]:
        """What the API server answers its administrator. Raises ApiServerError."""
        answered: dict[str, Any] = self._reach(lambda: self._request(method, path, body, form=form, within=within))
        return answered

    def changes(self, path: str, *, since: str) -> list[dict[str, Any]]:
        """What became of objects there since this resource version: a watch's events, the oldest first."""
        query = f"{path}?watch=1&timeoutSeconds=1&resourceVersion={since}"
        text = self._reach(lambda: self._ask("GET", query, None, form="application/json", within=15))
        return [json.loads(line) for line in text.splitlines()]

    def _request(self, method: str, path: str, body: object, *, form: str, within: float) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask(method, path, body, form=form, within=within))
        return found

    def _ask(self, method: str, path: str, body: object, *, form: str, within: float) -> bytes:
        context = ssl.create_default_context(cadata=self.pki.root_pem.decode())
        context.load_cert_chain(self.pki.folder / f"{ADMIN}.crt", self.pki.folder / f"{ADMIN}.key")
        connection = http.client.HTTPSConnection(self._address, self.port, timeout=within, context=context)
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": form})
            answer = connection.getresponse()
            text = answer.read()
        if answer.status >= 400:
            words = json.loads(text).get("message", "") if text.startswith(b"{") else text.decode()
            raise ApiServerError(f"{method} {path}: {answer.status} {words}", status=answer.status)
        return text

    def eventually(self, method: str, path: str, body: object = None, *, within: float = 20.0) -> dict[str, Any]:
        """The answer, once there is one: what was just made possible is served a moment later."""
        end = time.monotonic() + within
        while True:
            try:
                return self.request(method, path, body)
            except ApiServerError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        """Create an object from its manifest."""
        return self.request("POST", path_of(document), document)

    def delete(self, document: dict[str, Any]) -> None:
        """Delete the object of this manifest, at once."""
        self.request("DELETE", f"{path_of(document)}/{document['metadata']['name']}", {"gracePeriodSeconds": 0})

    def _is_ready(self) -> bool:
        try:
            self.request("GET", "/readyz?verbose=false")
        except json.JSONDecodeError:
            return True  # it says ok, which is no JSON
        except (ApiServerError, OSError, http.client.HTTPException):
            return False
        return True

    def _spawn(self, name: str, *flags: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            started = self._starter.submit(
                subprocess.Popen,
                # It ends with this process, however that ends.
                [*self._where, "setpriv", "--pdeathsig", "KILL", str(self._binaries / name), *flags],
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
            # Without a controller manager nobody makes the service accounts that it would ask for.
            "disable-admission-plugins": "ServiceAccount",
            "tls-cert-file": f"{files / 'apiserver.crt'}",
            "tls-private-key-file": f"{files / 'apiserver.key'}",
            "client-ca-file": f"{files / 'ca.crt'}",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": f"{files / 'accounts.key'}",
            "service-account-signing-key-file": f"{files / 'accounts.key'}",
            "profiling": "false",
        }
        return [f"--{name}={value}" for name, value in {**flags, **self._other_flags}.items()]


@contextlib.contextmanager
def running_api_server(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    where: Sequence[str] = (),
    reach: Callable[[Callable[[], Any]], Any] = lambda work: work(),
    arguments: Sequence[str] = (),
) -> Iterator[ApiServer]:
    """A ready API server; everything is ended with the block, or with this process.

    `where` and `reach` are those of ApiServer, `arguments` more flags of kube-apiserver.
    """
    server = ApiServer(folder, address=address, where=where, reach=reach)
    try:
        server.start(*arguments)
        yield server
    finally:
        server.end()


_CLUSTER_WIDE: Final = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
}
_PLURALS: Final = {"NetworkPolicy": "networkpolicies", "Endpoints": "endpoints"}


def path_of(document: dict[str, Any]) -> str:
    """Where objects like this one are created."""
    version, kind = document["apiVersion"], document["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    if kind in _CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{document['metadata'].get('namespace', 'default')}/{plural}"


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        listeners = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in listeners]
