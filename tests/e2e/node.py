"""Linux namespaces and cgroups -> a Kubernetes node, isolated from the machine; its processes end with it."""

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
# A shell moves itself into the cgroups and then executes nsenter, which enters the other namespaces.
_ENTER: Final = 'for cgroup in $1; do echo $$ >"$cgroup/cgroup.procs"; done; shift; exec "$@"'
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """A running node with containerd. state: the folder of its files, with the logs in state/logs."""

    network: Namespace
    state: Path
    init: int
    cgroups: Sequence[Path]
    ends: contextlib.ExitStack

    def enter(self, *command: str) -> list[str]:
        """The command line that runs `command` in all namespaces and cgroups of the node."""
        nsenter = ["nsenter", f"--target={self.init}", *_NAMESPACES, "--", *command]
        return ["sh", "-c", _ENTER, "enter", " ".join(map(str, self.cgroups)), *nsenter]

    def run(self, *command: str, within: float = 60.0) -> str:
        """Run a command on the node and return its output. Raises ClusterError."""
        return run_within(self.enter(*command), within=within)

    def start(self, name: str, *command: str) -> Process:
        """Start a program on the node; it is killed when the node ends."""
        process = Process(self.enter(*command), log=self.state / "logs" / f"{name}.log")
        self.ends.callback(process.kill)
        return process

    def load(self, archive: Path) -> None:
        """Import the images of a docker archive. Raises ClusterError."""
        self.run(
            "ctr", "--address", CONTAINERD, "--namespace", "k8s.io", "images", "import", str(archive), within=180.0
        )

    def pid(self, container: str) -> int:
        """The process id, in the node's PID namespace, of a container's first process.

        container: the containerID from a pod's status. Raises ClusterError.
        """
        name = container.removeprefix("containerd://")
        tasks = self.run("ctr", "--address", CONTAINERD, "--namespace", "k8s.io", "tasks", "list").splitlines()
        pids = [int(words[1]) for words in map(str.split, tasks) if words[0] == name]
        if not pids:
            raise ClusterError(f"container {name} is not running on the node")
        return pids[0]


_NAMESPACES: Final = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")


@contextlib.contextmanager
def running_node(state: Path, *, pause: Path) -> Iterator[Node]:
    """A node on an isolated network; everything is removed after the block.

    If this process is killed, the node's processes are killed too, and the next node removes the rest.
    """
    _remove_leftover_nodes()
    name = f"{_NAME}{os.getpid()}"
    (state / "logs").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_data, state)
        network = stack.enter_context(namespace(name))
        _address(network)
        paths = stack.enter_context(cgroups(name))
        init = stack.enter_context(_first_process(network, paths, state, pause=pause))
        node = Node(network, state, init, paths, stack.enter_context(contextlib.ExitStack()))
        _start_containerd(node)
        yield node


def _remove_leftover_nodes() -> None:
    """Remove the network namespaces and cgroups of nodes whose process was killed."""
    for path in Path("/run/netns").glob(f"{_NAME}*"):
        pid = path.name.removeprefix(_NAME)
        if pid.isdecimal() and not Path("/proc", pid).exists():
            run("ip", "netns", "delete", path.name)
            remove_leftovers(path.name)


def run_within(command: Sequence[str], *, within: float) -> str:
    """Run a command and return its output. Raises ClusterError with its error output."""
    try:
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(command)}: more than {within:g} s") from None
    if process.returncode:
        raise ClusterError(f"{' '.join(command)}: {process.stderr.strip() or process.stdout.strip() or 'failed'}")
    return process.stdout


def _address(network: Namespace) -> None:
    for line in (
        "link add node0 type bridge",
        f"address add {NODE_ADDRESS}/24 dev node0",
        "link set node0 up",
        # kubelet requires a default route; this one leads nowhere.
        "route add default dev node0",
    ):
        run("ip", "-netns", network.name, *line.split())


@contextlib.contextmanager
def _first_process(network: Namespace, paths: Sequence[Path], state: Path, *, pause: Path) -> Iterator[int]:
    unshare = ["unshare", "--cgroup", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL"]
    inside = network.command("setpriv", "--pdeathsig", "KILL", *unshare, "sh", str(_INIT), str(state), NODE, str(pause))
    command = ["sh", "-c", _ENTER, "enter", " ".join(map(str, paths)), *inside]
    log = (state / "logs" / "init.log").open("ab")
    # PR_SET_PDEATHSIG (prctl(2)) takes effect when the thread that started the process ends, so start it from a thread
    # that lives as long as the node.
    with log, ThreadPoolExecutor(1, "node") as starter:
        outer = starter.submit(_spawn, command, log.fileno()).result()
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


def _spawn(command: Sequence[str], log: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _start_containerd(node: Node) -> None:
    (node.state / "containerd.toml").write_text(containerd(node.state))
    (node.state / "cni").mkdir()
    (node.state / "cni" / "pods.conflist").write_text(json.dumps(pod_network()))
    process = node.start("containerd", "containerd", "--config", str(node.state / "containerd.toml"))
    version = ("ctr", "--address", CONTAINERD, "version")
    eventually(lambda: _succeeds(lambda: node.run(*version)), what="containerd responds", within=60.0, process=process)


def _succeeds(work: Callable[[], object]) -> bool:
    with contextlib.suppress(ClusterError):
        work()
        return True
    return False


def _remove_data(state: Path) -> None:
    """Remove the node's images and volumes, which are large, and keep its logs."""
    for path in state.iterdir():
        if path.is_dir() and path.name != "logs":
            shutil.rmtree(path, ignore_errors=True)
