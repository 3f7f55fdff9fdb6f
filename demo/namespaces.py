"""Network namespaces joined by a bridge: where the pods of the demo live.

The machine's own addresses and iptables are never touched: the bridge has a namespace of its own too.
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

from demo.errors import DemoError

GATEWAY: Final = "10.42.0.1"
_PREFIX: Final = 16
_CLONE_NEWNET: Final = 0x40000000
_BECOME: Final = str(Path(__file__).with_name("become.py"))
T = TypeVar("T")


def run(*command: str, text: str = "") -> str:
    """What a command of the system prints. Raises DemoError with its words."""
    # A session of its own: Ctrl-C must not stop it half way.
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=20, check=False, start_new_session=True
    )
    if done.returncode:
        raise DemoError(f"{' '.join(command)}: {' '.join(done.stderr.split()) or 'failed'}")
    return done.stdout


def why_no_namespaces() -> str:
    """Why namespaces with iptables cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "not root"
    if missing := [name for name in ("ip", "iptables", "curl") if not shutil.which(name)]:
        return f"{' and '.join(missing)} not found"
    try:
        # Root in a container often may not.
        with namespace(f"osm-try-{secrets.token_hex(3)}") as tried:
            run(*tried.command("iptables", "-t", "nat", "-n", "-L"))
    except DemoError as error:
        return str(error)
    return ""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with its loopback up."""

    name: str

    def command(self, *command: str) -> list[str]:
        """The command that does the same in here."""
        return ["ip", "netns", "exec", self.name, *command]

    def command_as(self, uid: int, *command: str) -> list[str]:
        """The same, as another user."""
        return self.command(sys.executable, _BECOME, str(uid), *command)

    def inside(self, work: Callable[[], T]) -> T:
        """Do `work` on a thread that is in here. A socket that it makes stays in here for good."""

        def entered() -> T:
            with Path("/run/netns", self.name).open("rb") as file:
                if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return work()

        # The thread ends with the executor: no other work is ever in here by mistake.
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(entered).result()

    def connect(self, host: str, port: int, *, within: float = 2.0) -> socket.socket:
        """A TCP connection made from in here. Raises OSError."""
        return self.inside(lambda: socket.create_connection((host, port), within))

    def request(self, url: str, *, method: str = "GET", host: str | None = None) -> "Answer":
        """An HTTP request made from in here, on a connection of its own. Raises OSError."""
        address, _, path = url.removeprefix("http://").partition("/")
        name, _, port = address.partition(":")
        connection = http.client.HTTPConnection(name, int(port or 80))
        connection.sock = self.connect(name, int(port or 80))
        try:
            connection.request(method, f"/{path}", headers={"Host": host or address})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()})
        except http.client.HTTPException as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    text: str
    headers: dict[str, str]


@contextlib.contextmanager
def namespace(name: str) -> Iterator[Namespace]:
    """An empty namespace, gone after the block with all that is in it, processes too."""
    try:
        run("ip", "netns", "add", name)
        run("ip", "-netns", name, "link", "set", "lo", "up")
        yield Namespace(name)
    finally:
        with contextlib.suppress(DemoError):
            _end_all_in(name)
            run("ip", "netns", "delete", name)


def _end_all_in(name: str) -> None:
    # Each has been stopped by whoever started it, unless Ctrl-C came between its start and the block that ends it.
    for pid in run("ip", "netns", "pids", name).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Network:
    """A bridge in the namespace `hub`, with the address GATEWAY."""

    name: str
    hub: Namespace

    @contextlib.contextmanager
    def pod(self, name: str, *, address: str) -> Iterator[Namespace]:
        """A namespace joined to the bridge, with this address and a default route to the gateway."""
        port = f"v{address.replace('.', '')}"
        with namespace(f"{self.name}-{name}") as pod:
            try:
                for line in (
                    f"-netns {self.hub.name} link add {port} type veth peer name eth0 netns {pod.name}",
                    f"-netns {self.hub.name} link set {port} master br0 up",
                    f"-netns {pod.name} address add {address}/{_PREFIX} dev eth0",
                    f"-netns {pod.name} link set eth0 up",
                    f"-netns {pod.name} route add default via {GATEWAY}",
                ):
                    run("ip", *line.split())
                yield pod
            finally:
                # It would go with the namespace, but some time later: the next pod of this address may come sooner.
                with contextlib.suppress(DemoError):
                    run("ip", "-netns", self.hub.name, "link", "delete", port)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A bridge of its own name, so that several runs live side by side."""
    name = f"osm-{secrets.token_hex(3)}"
    with namespace(f"{name}-cp") as hub:
        for line in (
            "link add br0 type bridge",
            f"address add {GATEWAY}/{_PREFIX} dev br0",
            "link set br0 up",
        ):
            run("ip", "-netns", hub.name, *line.split())
        yield Network(name, hub)


def redirect(pod: Namespace, *, rules: str) -> None:
    """Send the pod's traffic through its sidecar, as the init container does."""
    run(*pod.command("iptables-restore", "--noflush"), text=rules)


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
