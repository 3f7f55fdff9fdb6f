"""A row's testbed: its network namespace and folder, the real program, real clients, probes, and load."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from demo.namespaces import Namespace, namespace, run
from osm_probes.pki.ca_folder import load_or_create_authority
from tests.faults.identity import pods
from tests.faults.injected_code import SIGNAL, SITECUSTOMIZE
from tests.faults.row import FaultError, Mode, Program, Row
from tests.faults.timeline import Probe, Sample
from tests.kubernetes.apiserver import ApiServer

ROOT = Path(__file__).parents[2]
BOOKSTORE = ROOT / "examples" / "bookstore"
ADS_PORT, WEBHOOK_PORT, HTTP_PORT, REPLICA_HTTP_PORT = 15128, 9090, 9091, 9191
_BIN = Path(sys.executable).parent
_START_LIMIT = 30.0

Process = subprocess.Popen[bytes]
T = TypeVar("T")


class InterruptedRowError(Exception):
    """The matrix was interrupted."""


class FaultTestbed:
    """The environment of one row. Changes to source, flags, environment, prefix and stderr take effect at `start()`.

    source: the flags for the sources of mesh and CA; rows with a cluster replace them, and set `api`. truth: arguments
    of the truth process, if real clients do not use the program directly. follower_limit: seconds within which each
    change must reach a connected proxy, which is the real client then; with 0 it is a new proxy. environment: variables
    of the program; shared: variables of program, judge, real clients and probes. prefix: a command before the program's
    own.
    """

    def __init__(self, row: Row, mode: Mode, *, netns: Namespace, folder: Path, stop: threading.Event) -> None:
        self.row = row
        self.mode = mode
        self.netns = netns
        self.folder = folder
        self.mesh = folder / "mesh"
        self.ca = folder / "ca"
        self.source = ["--mesh-dir", str(self.mesh), "--ca-dir", str(self.ca)]
        self.flags: list[str] = list(row.flags)
        self.environment: dict[str, str] = {}
        self.shared: dict[str, str] = {}
        self.prefix: list[str] = []
        self.stderr: int | None = None
        self.problems: list[str] = []
        self._stop = stop
        self.ended_at: float | None = None
        self.api: ApiServer | None = None
        self.truth: tuple[object, ...] = ()
        self.follower_limit = 0
        self.leader: Process | None = None
        self._program: Process | None = None
        self._opened = contextlib.ExitStack()
        shutil.copytree(BOOKSTORE, self.mesh)
        (self.mesh / "extra_pods.json").write_text(pods(row.extra_pods))
        self._code = folder / "code.py"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)

    @property
    def port(self) -> int:
        """The port of the ADS or the webhook."""
        return ADS_PORT if self.row.program is Program.CONTROLLER else WEBHOOK_PORT

    @property
    def started(self) -> bool:
        """Whether the program was started, even if it has exited since."""
        return self._program is not None

    @property
    def pid(self) -> int:
        """The program's process id."""
        if self._program is None:
            raise FaultError("the program has not been started")
        return self._program.pid

    @property
    def status(self) -> int | None:
        """The program's exit status; None while it is running; 128 + n for signal n, as in a shell."""
        status = self._program.poll() if self._program else None
        return 128 - status if status is not None and status < 0 else status

    @property
    def judge(self) -> int:
        """The judge's process id. Raises FaultError if there is no judge within 5 s."""
        return self.eventually(self._find_judge, what="a judge", within=5)

    def _find_judge(self) -> int | None:
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        return next((pid for pid in pids if "osm_probes.judge" in _command_line(pid)), None)

    def make_ca(self) -> None:
        """Create the CA, so that real clients have an identity before the program starts."""
        load_or_create_authority(self.ca, common_name="osm-ca")

    def start(self) -> None:
        """Start the program."""
        ports = ["--ads-port=15128"] if self.row.program is Program.CONTROLLER else ["--webhook-port=9090"]
        limit = f"--heartbeat-limit={self.mode.heartbeat_limit:g}s"
        command = [*self.prefix, str(_BIN / self.row.program.value), *self.source, *ports, limit, *self.flags]
        # The programs are those of this checkout, wherever the virtual environment was installed from.
        injection = {"PYTHONPATH": f"{self.folder / 'site'}{os.pathsep}{ROOT}", "FAULT_CODE": str(self._code)}
        environment = {**injection, **self.environment}
        with (self.folder / "program.log").open("ab") as log:
            self._program = self._popen(command, stderr=self.stderr or log.fileno(), environment=environment)
        threading.Thread(target=self._await_end, args=(self._program,), daemon=True).start()

    def replica(self) -> Process:
        """Start another program of the same kind on other ports; it gets no probes."""
        ports = ("--ads-port=15129", f"--http-port={REPLICA_HTTP_PORT}", "--debug-port=0")
        with (self.folder / "replica.log").open("ab") as log:
            return self._popen([str(_BIN / self.row.program.value), *self.source, *ports], stderr=log.fileno())

    def _await_end(self, program: Process) -> None:
        program.wait()
        self.ended_at = time.monotonic()

    def watch(self) -> None:
        """Start the real clients and the probes."""
        kind = "ads" if self.row.program is Program.CONTROLLER else "webhook"
        truth = (*(self.truth or (kind, self.port, self.ca)), self.row.sample_interval)
        targets = {"alive": f"http://127.0.0.1:{HTTP_PORT}/health/alive"}
        if self.row.program is Program.CONTROLLER:
            targets["ready"] = f"http://127.0.0.1:{HTTP_PORT}/health/ready"
        else:
            targets["ready"] = f"https://127.0.0.1:{WEBHOOK_PORT}/healthz"
            targets["9091"] = f"http://127.0.0.1:{HTTP_PORT}/health/ready"
        if self.follower_limit:
            self.start_process("follower", self.port, self.ca, self.mesh, self.follower_limit, 0.25)
        else:
            self.start_process("truth", *truth)
        self.start_process("probe", 1.0, *(f"{name}={url}" for name, url in targets.items()))

    def start_process(self, module: str, *arguments: object) -> Process:
        """Start a module of this package as a process; it is killed when the testbed is removed."""
        with (self.folder / f"{module}.jsonl").open("ab") as out, (self.folder / f"{module}.err").open("ab") as err:
            return self._popen(_python(module, *arguments), stdout=out.fileno(), stderr=err.fileno(), cwd=ROOT)

    def samples(self) -> tuple[Sample, ...]:
        """The samples so far, ordered by time."""
        name = "follower" if self.follower_limit else "truth"
        return tuple(sorted(_read(self.folder / f"{name}.jsonl", Sample), key=lambda sample: sample.start))

    def probes(self) -> tuple[Probe, ...]:
        """The probes so far, ordered by time."""
        return tuple(sorted(_read(self.folder / "probe.jsonl", Probe), key=lambda probe: probe.start))

    def all_healthy(self) -> bool:
        """Whether a recent client was served and the latest probe of each endpoint succeeded."""
        last = {probe.name: probe.ok for probe in self.probes()}
        return bool(last) and all(last.values()) and any(sample.ok for sample in self.samples()[-3:])

    def execute(self, code: str) -> None:
        """Make the program execute this code in its main thread; before `start()`, when it starts."""
        self._code.write_text(code)
        if self._program is not None:
            self.kill(self.pid, SIGNAL)

    def kill(self, pid: int, number: int) -> None:
        """Send a signal. Raises FaultError if the process does not exist."""
        try:
            os.kill(pid, number)
        except ProcessLookupError as error:
            raise FaultError(f"process {pid} does not exist: {self.last_line()}") from error

    def run(self, *command: str) -> str:
        """Run a command in the row's network namespace and return its output. Raises DemoError."""
        return run(*self.netns.command(*command))

    @contextlib.contextmanager
    def disk(self, folder: Path, *, size: str) -> Iterator[None]:
        """Mount a file system of this size on the folder, until all processes of the row have exited."""
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
        try:
            yield
        finally:
            self.close()
            run("umount", str(folder))

    @contextlib.contextmanager
    def load(self, kind: str, *arguments: object, port: int = 0) -> Iterator[Process]:
        """Start load and wait until it is up. arguments: counts. port: by default that of the ADS or the webhook."""
        command = _python("load", kind, port or self.port, self.ca, *arguments)
        mesh = {"MESH": str(self.mesh)}
        with (self.folder / "load.log").open("ab") as log:
            process = self._popen(command, stdout=subprocess.PIPE, stderr=log.fileno(), environment=mesh, cwd=ROOT)
        try:
            up = self.eventually(lambda: _first_line(process), what=f"the load {kind}", within=90)
            if up != b"up\n":
                raise FaultError(f"the load {kind} exited: {self.last_line('load.log')}")
            yield process
        finally:
            _end(process)

    def hold(self, seconds: float) -> None:
        """Wait. Raises InterruptedRowError."""
        if self._stop.wait(seconds):
            raise InterruptedRowError

    def until_ended(self, *, within: float) -> bool:
        """Wait for the program's exit. Returns whether it exited."""
        with contextlib.suppress(FaultError):
            self.eventually(lambda: self.status is not None, what="the exit", within=within)
        return self.status is not None

    def eventually(self, condition: Callable[[], T | None], *, what: str, within: float = _START_LIMIT) -> T:
        """Evaluate the condition every 50 ms and return its first true result. Raises FaultError on a timeout."""
        end = time.monotonic() + within
        while not (result := condition()):
            if time.monotonic() > end:
                raise FaultError(f"{what}: not within {within:g} s: {self.last_line()}")
            self.hold(0.05)
        return result

    def logged(self, message: str, *, log: str = "program.log") -> list[dict[str, object]]:
        """The log lines of program and judge with this message."""
        lines = [line for line in (self.folder / log).read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["message"] == message]

    def last_line(self, log: str = "program.log") -> str:
        """The last line of a log."""
        return _last_line(self.folder / log)

    def close(self) -> None:
        """Kill all processes of the row."""
        self._opened.close()

    def _popen(
        self,
        command: Sequence[str],
        *,
        stdout: int = subprocess.DEVNULL,
        stderr: int,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        clean = {key: text for key, text in os.environ.items() if not key.lower().endswith("_proxy")}
        process = subprocess.Popen(
            self.netns.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd or self.folder,
            env={**clean, "GRPC_VERBOSITY": "NONE", **self.shared, **(environment or {})},
            start_new_session=True,  # Ctrl-C reaches only the matrix, which then removes everything in order
        )
        self._opened.callback(_end, process)
        return process


@contextlib.contextmanager
def running_testbed(row: Row, mode: Mode, *, stop: threading.Event, keep: Path | None = None) -> Iterator[FaultTestbed]:
    """A row's testbed, which is removed after the block. keep: a folder to which its files are copied."""
    name = f"osm-fault-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, namespace(name) as netns:
        testbed = FaultTestbed(row, mode, netns=netns, folder=Path(folder), stop=stop)
        try:
            yield testbed
        finally:
            testbed.close()
            if keep is not None:
                shutil.rmtree(keep / row.name, ignore_errors=True)
                shutil.copytree(folder, keep / row.name, ignore_dangling_symlinks=True)


def _python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"tests.faults.{module}", *map(str, arguments)]


def _read(path: Path, kind: type[T]) -> list[T]:
    if not path.exists():
        return []
    # The last line may be incomplete.
    complete = path.read_bytes().rpartition(b"\n")[0]
    return [msgspec.json.decode(line, type=kind) for line in complete.splitlines()]


def _first_line(process: Process) -> bytes | None:
    stream: IO[bytes] | None = process.stdout
    if stream is None:
        return None
    os.set_blocking(stream.fileno(), False)
    return stream.readline() or (b"ended" if process.poll() is not None else None)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1][:300] if lines else "its log is empty"


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _end(process: Process) -> None:
    if process.poll() is None:
        # SIGKILL also ends a stopped process.
        process.send_signal(signal.SIGKILL)
    process.wait(10)
    if process.stdout:
        process.stdout.close()
