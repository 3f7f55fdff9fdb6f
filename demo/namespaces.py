"""Network namespaces connected by a bridge: the network of the demo's pods.

The bridge has its own namespace too, so the machine's addresses and iptables rules are not changed.
"""

import contextlib
import ctypes
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from demo.errors import DemoError
from osm_probes.admission.redirect import RedirectRules

GATEWAY: Final = "10.42.0.1"
GATEWAY_IPV6: Final = "fd00:42::1"
_PREFIX: Final = 16
_PREFIX_IPV6: Final = 64
_CLONE_NEWNET: Final = 0x40000000
_SWITCH_USER: Final = str(Path(__file__).with_name("switch_user.py"))
T = TypeVar("T")


def run(*command: str) -> str:
    """Run a system command and return its output. Raises DemoError with the command's error output."""
    # A new session: Ctrl-C must not interrupt the command.
    process = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        start_new_session=True,
    )
    if process.returncode:
        raise DemoError(f"{' '.join(command)}: {' '.join(process.stderr.split()) or 'failed'}")
    return process.stdout


def network_namespace_problem(*, tables: str = "iptables") -> str:
    """The reason why this process cannot create network namespaces with rules; empty if it can.

    tables: the program that sets the rules, `ip6tables` for IPv6.
    """
    if os.geteuid() != 0:
        return "not root"
    if missing := [name for name in ("ip", tables, "curl") if not shutil.which(name)]:
        return f"{' and '.join(missing)} not found"
    try:
        # Root in a container often lacks the capability.
        with namespace(f"osm-try-{secrets.token_hex(3)}") as trial:
            run(*trial.command(tables, "-t", "nat", "-n", "-L"))
    except DemoError as error:
        return str(error)
    return ""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with its loopback up."""

    name: str

    def command(self, *command: str) -> list[str]:
        """The command line that runs `command` in this namespace."""
        return ["ip", "netns", "exec", self.name, *command]

    def command_as(self, uid: int, *command: str) -> list[str]:
        """The command line that runs `command` in this namespace as another user."""
        return self.command(sys.executable, _SWITCH_USER, str(uid), *command)

    def inside(self, work: Callable[[], T]) -> T:
        """Run `work` on a thread in this namespace. A socket that it creates stays in this namespace."""

        def entered() -> T:
            with Path("/run/netns", self.name).open("rb") as file:
                if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return work()

        # A new thread for each call: no other work can run in this namespace by mistake.
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(entered).result()

    def connect(self, host: str, port: int, *, within: float = 2.0) -> socket.socket:
        """Open a TCP connection from this namespace. Raises OSError."""
        return self.inside(lambda: socket.create_connection((host, port), within))

    def request(self, url: str, *, method: str = "GET", host: str | None = None) -> "Answer":
        """Send an HTTP request from this namespace on a new connection. Raises OSError."""
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or 80
        connection = http.client.HTTPConnection(name, port)
        connection.sock = self.connect(name, port)
        try:
            target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            connection.request(method, target, headers={"Host": host or parts.netloc})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()})
        except http.client.HTTPException as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; header names are in lower case."""

    status: int
    text: str
    headers: dict[str, str]


@contextlib.contextmanager
def namespace(name: str) -> Iterator[Namespace]:
    """A new network namespace. After the block its processes are killed and it is deleted."""
    try:
        run("ip", "netns", "add", name)
        run("ip", "-netns", name, "link", "set", "lo", "up")
        yield Namespace(name)
    finally:
        with contextlib.suppress(DemoError):
            _kill_processes(name)
            run("ip", "netns", "delete", name)


def _kill_processes(name: str) -> None:
    # Normally all processes have stopped. One may be left if Ctrl-C came between its start and its `with` block.
    for pid in run("ip", "netns", "pids", name).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Network:
    """A bridge in the namespace `hub`, with the address GATEWAY, and GATEWAY_IPV6 once a pod has an IPv6 address."""

    name: str
    hub: Namespace

    @contextlib.contextmanager
    def pod(self, name: str, *, address: str = "", ipv6: str = "") -> Iterator[Namespace]:
        """A new namespace, connected to the bridge, with these addresses and default routes to the gateway."""
        port = f"v{''.join(filter(str.isalnum, address or ipv6))}"
        with namespace(f"{self.name}-{name}") as pod:
            try:
                for line in (
                    f"-netns {self.hub.name} link add {port} type veth peer name eth0 netns {pod.name}",
                    f"-netns {self.hub.name} link set {port} master br0 up",
                    f"-netns {pod.name} link set eth0 up",
                    *self._address_commands(pod, address=address, ipv6=ipv6),
                ):
                    run("ip", *line.split())
                yield pod
            finally:
                # The kernel deletes it with the namespace, but only later, and the next pod may need the same name.
                with contextlib.suppress(DemoError):
                    run("ip", "-netns", self.hub.name, "link", "delete", port)

    def _address_commands(self, pod: Namespace, *, address: str, ipv6: str) -> Iterator[str]:
        if address:
            yield f"-netns {pod.name} address add {address}/{_PREFIX} dev eth0"
            yield f"-netns {pod.name} route add default via {GATEWAY}"
        if ipv6:
            # Without duplicate address detection, the addresses can be used at once.
            yield f"-netns {self.hub.name} address replace {GATEWAY_IPV6}/{_PREFIX_IPV6} dev br0 nodad"
            yield f"-netns {pod.name} address add {ipv6}/{_PREFIX_IPV6} dev eth0 nodad"
            yield f"-netns {pod.name} route add default via {GATEWAY_IPV6}"


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A bridge in a new namespace with a unique name, so that several runs can exist at the same time."""
    name = f"osm-{secrets.token_hex(3)}"
    with namespace(f"{name}-cp") as hub:
        for line in (
            "link add br0 type bridge",
            f"address add {GATEWAY}/{_PREFIX} dev br0",
            "link set br0 up",
        ):
            run("ip", "-netns", hub.name, *line.split())
        yield Network(name, hub)


def redirect(pod: Namespace, *, rules: RedirectRules) -> None:
    """Redirect the pod's traffic through its sidecar, as the init container does."""
    run(*pod.command("/bin/sh", "-c", rules.script))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
