"""Namespaces and cgroups -> a node: what is started in here is in nobody else's way, and ends with it."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from demo.namespaces import Namespace, namespace, run
from demo.processes import Process, eventually
from tests.e2e.cgroups import cgroups, remove_leftovers
from tests.e2e.configuration import CONTAINERD, NODE, NODE_ADDRESS, containerd, pod_network
from tests.e2e.errors import ClusterError

_NAME: Final = "osm-e2e-"
_INIT: Final = Path(__file__).with_name("node_init.sh")
# Processes come into a cgroup by their own act; nsenter takes the rest of what makes a node.
_ENTER: Final = 'for each in $1; do echo $$ >"$each/cgroup.procs"; done; shift; exec "$@"'
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """A running node with containerd. `state` is the folder of its files; logs are in state/logs."""

    network: Namespace
    state: Path
    init: int
    cgroups: Sequence[Path]
    ends: contextlib.ExitStack

    def enter(self, *command: str) -> list[str]:
        """The command that runs in all of the node's namespaces, as the node's own programs do."""
        nsenter = ["nsenter", f"--target={self.init}", *_NAMESPACES, "--", *command]
        return ["sh", "-c", _ENTER, "enter", " ".join(map(str, self.cgroups)), *nsenter]

    def run(self, *command: str, within: float = 60.0) -> str:
        """What a command prints that runs as one of the node's own programs. Raises ClusterError."""
        return run_within(self.enter(*command), within=within)

    def start(self, name: str, *command: str) -> Process:
        """Start one of the node's programs; it ends with the node."""
        process = Process(self.enter(*command), log=self.state / "logs" / f"{name}.log")
        self.ends.callback(process.kill)
        return process

    def load(self, archive: Path) -> None:
        """Take up the images of a docker archive."""
        self.run(
            "ctr", "--address", CONTAINERD, "--namespace", "k8s.io", "images", "import", str(archive), within=180.0
        )

    def pid(self, container: str) -> int:
        """The number, as the node counts, of a container's first process. `container` as a pod's status names it."""
        name = container.removeprefix("containerd://")
        tasks = self.run("ctr", "--address", CONTAINERD, "--namespace", "k8s.io", "tasks", "list").splitlines()
        found = [int(words[1]) for words in map(str.split, tasks) if words[0] == name]
        if not found:
            raise ClusterError(f"the node runs no container {name}")
        return found[0]


_NAMESPACES: Final = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")


@contextlib.contextmanager
def running_node(state: Path, *, pause: Path) -> Iterator[Node]:
    """A node, on a network that nothing leaves; all of it is gone after the block.

    Its processes end with this one, however that ends; what has no process is then swept by the next.
    """
    _sweep()
    name = f"{_NAME}{os.getpid()}"
    (state / "logs").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(_empty, state)
        network = stack.enter_context(namespace(name))
        _address(network)
        paths = stack.enter_context(cgroups(name))
        init = stack.enter_context(_first_process(network, paths, state, pause=pause))
        node = Node(network, state, init, paths, stack.enter_context(contextlib.ExitStack()))
        _start_containerd(node)
        yield node


def _sweep() -> None:
    """Remove what is left of nodes whose process was killed."""
    for each in Path("/run/netns").glob(f"{_NAME}*"):
        maker = each.name.removeprefix(_NAME)
        if maker.isdecimal() and not Path("/proc", maker).exists():
            run("ip", "netns", "delete", each.name)
            remove_leftovers(each.name)


def run_within(command: Sequence[str], *, within: float) -> str:
    """What a command prints. Raises ClusterError with its words."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(command)}: more than {within:g} s") from None
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip() or 'failed'}")
    return done.stdout


def _address(network: Namespace) -> None:
    for line in (
        "link add node0 type bridge",
        f"address add {NODE_ADDRESS}/24 dev node0",
        "link set node0 up",
        # kubelet wants a default route; behind this one nobody is.
        "route add default dev node0",
    ):
        run("ip", "-netns", network.name, *line.split())


@contextlib.contextmanager
def _first_process(network: Namespace, paths: Sequence[Path], state: Path, *, pause: Path) -> Iterator[int]:
    unshare = ["unshare", "--cgroup", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL"]
    inside = network.command("setpriv", "--pdeathsig", "KILL", *unshare, "sh", str(_INIT), str(state), NODE, str(pause))
    command = ["sh", "-c", _ENTER, "enter", " ".join(map(str, paths)), *inside]
    log = (state / "logs" / "init.log").open("ab")
    # PR_SET_PDEATHSIG (prctl(2)) is about the thread that started the process: this one lasts, a caller's may not.
    with log, ThreadPoolExecutor(1, "node") as starter:
        outer = starter.submit(_started, command, log.fileno()).result()
        try:
            end = time.monotonic() + 20.0
            while not (state / "ready").exists():
                if outer.poll() is not None or time.monotonic() > end:
                    raise ClusterError(f"the node did not start: {(state / 'logs' / 'init.log').read_text().strip()}")
                time.sleep(0.02)
            yield int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
        finally:
            outer.kill()
            outer.wait()


def _started(command: Sequence[str], log: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _start_containerd(node: Node) -> None:
    (node.state / "containerd.toml").write_text(containerd(node.state))
    (node.state / "cni").mkdir()
    (node.state / "cni" / "pods.conflist").write_text(json.dumps(pod_network()))
    process = node.start("containerd", "containerd", "--config", str(node.state / "containerd.toml"))
    ask = ("ctr", "--address", CONTAINERD, "version")
    eventually(lambda: _works(lambda: node.run(*ask)), what="containerd answers", within=60.0, process=process)


def _works(work: Callable[[], object]) -> bool:
    with contextlib.suppress(ClusterError):
        work()
        return True
    return False


def _empty(state: Path) -> None:
    """Images and volumes are large; logs stay."""
    for each in state.iterdir():
        if each.is_dir() and each.name != "logs":
            shutil.rmtree(each, ignore_errors=True)
