"""A row's place: its own network namespace and folder, the real program in it, the watchers beside it, the load."""

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
from tests.faults.orders import SIGNAL, SITECUSTOMIZE
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
    """The matrix was interrupted: everything is taken away."""


class Stage:
    """What a row's acts work on. `source`, `flags`, `environment`, `around` and `stderr` count until `start()`.

    source: the flags that say where mesh and CA come from; a cluster's row puts its own there, and its API server into
    `api`. truth: whom to ask for it instead of the program. environment: of the program; shared: of program, judge,
    truth and probes alike. around: a command before the program's own.
    """

    def __init__(self, row: Row, mode: Mode, *, place: Namespace, folder: Path, stop: threading.Event) -> None:
        self.row = row
        self.mode = mode
        self.place = place
        self.folder = folder
        self.mesh = folder / "mesh"
        self.ca = folder / "ca"
        self.source = ["--mesh-dir", str(self.mesh), "--ca-dir", str(self.ca)]
        self.flags: list[str] = list(row.flags)
        self.environment: dict[str, str] = {}
        self.shared: dict[str, str] = {}
        self.around: list[str] = []
        self.stderr: int | None = None
        self.broken: list[str] = []
        self._stop = stop
        self.ended_at: float | None = None
        self.api: ApiServer | None = None
        self.truth: tuple[object, ...] = ()
        self.leader: Process | None = None
        self._program: Process | None = None
        self._open = contextlib.ExitStack()
        shutil.copytree(BOOKSTORE, self.mesh)
        (self.mesh / "crowd.json").write_text(pods(row.crowd))
        self._order = folder / "order.py"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)

    @property
    def port(self) -> int:
        """Where the program serves."""
        return ADS_PORT if self.row.program is Program.CONTROLLER else WEBHOOK_PORT

    @property
    def started(self) -> bool:
        """Whether the program was started, be it gone since."""
        return self._program is not None

    @property
    def pid(self) -> int:
        """The program's process."""
        if self._program is None:
            raise FaultError("the program has not been started")
        return self._program.pid

    @property
    def status(self) -> int | None:
        """The program's exit status; None while it runs. 128 + n stands for signal n, as in a shell."""
        status = self._program.poll() if self._program else None
        return 128 - status if status is not None and status < 0 else status

    @property
    def judge(self) -> int:
        """The judge's process."""
        return self.eventually(self._judge, what="a judge", within=5)

    def _judge(self) -> int | None:
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        return next((pid for pid in pids if "osm_probes.judge.main" in _command_line(pid)), None)

    def make_ca(self) -> None:
        """Make the CA, so that the truth's client has an identity before the program runs."""
        load_or_create_authority(self.ca, common_name="osm-ca")

    def start(self) -> None:
        """Start the program."""
        ports = ["--ads-port=15128"] if self.row.program is Program.CONTROLLER else ["--webhook-port=9090"]
        limit = f"--heartbeat-limit={self.mode.heartbeat_limit:g}s"
        command = [*self.around, str(_BIN / self.row.program.value), *self.source, *ports, limit, *self.flags]
        orders = {"PYTHONPATH": str(self.folder / "site"), "FAULT_ORDER": str(self._order)}
        environment = {**orders, **self.environment}
        with (self.folder / "program.log").open("ab") as log:
            self._program = self._popen(command, stderr=self.stderr or log.fileno(), environment=environment)
        threading.Thread(target=self._await_end, args=(self._program,), daemon=True).start()

    def replica(self) -> Process:
        """Another program of the same kind, on ports of its own; nobody probes it."""
        ports = ("--ads-port=15129", f"--http-port={REPLICA_HTTP_PORT}")
        with (self.folder / "replica.log").open("ab") as log:
            return self._popen([str(_BIN / self.row.program.value), *self.source, *ports], stderr=log.fileno())

    def _await_end(self, program: Process) -> None:
        program.wait()
        self.ended_at = time.monotonic()

    def watch(self) -> None:
        """Begin to ask for the truth and to probe."""
        kind = "ads" if self.row.program is Program.CONTROLLER else "webhook"
        truth = (*(self.truth or (kind, self.port, self.ca)), self.row.every)
        targets = {"alive": f"http://127.0.0.1:{HTTP_PORT}/health/alive"}
        if self.row.program is Program.CONTROLLER:
            targets["ready"] = f"http://127.0.0.1:{HTTP_PORT}/health/ready"
        else:
            targets["ready"] = f"https://127.0.0.1:{WEBHOOK_PORT}/healthz"
            targets["9091"] = f"http://127.0.0.1:{HTTP_PORT}/health/ready"
        self._watcher("truth", *truth)
        self._watcher("probe", 1.0, *(f"{name}={url}" for name, url in targets.items()))

    def _watcher(self, module: str, *arguments: object) -> Process:
        with (self.folder / f"{module}.jsonl").open("ab") as out, (self.folder / f"{module}.err").open("ab") as err:
            return self._popen(_python(module, *arguments), stdout=out.fileno(), stderr=err.fileno(), cwd=ROOT)

    def background_tasks(self, module: str, *arguments: object) -> Process:
        """A process of the matrix, started, that goes on until all is ended."""
        return self._watcher(module, *arguments)

    def samples(self) -> tuple[Sample, ...]:
        """The truth so far."""
        return tuple(sorted(_read(self.folder / "truth.jsonl", Sample), key=lambda sample: sample.start))

    def probes(self) -> tuple[Probe, ...]:
        """The probes so far."""
        return tuple(sorted(_read(self.folder / "probe.jsonl", Probe), key=lambda probe: probe.start))

    def all_well(self) -> bool:
        """Whether the last word of truth and of each probe is yes."""
        last = {probe.name: probe.ok for probe in self.probes()}
        return bool(last) and all(last.values()) and any(sample.ok for sample in self.samples()[-3:])

    def order(self, code: str) -> None:
        """Make the program run this code in its main thread; before `start()`: as its first act."""
        self._order.write_text(code)
        if self._program is not None:
            self.kill(self.pid, SIGNAL)

    def kill(self, pid: int, number: int) -> None:
        """Send a signal. Raises FaultError if there is nobody."""
        try:
            os.kill(pid, number)
        except ProcessLookupError as error:
            raise FaultError(f"process {pid} is gone: {self.last_line()}") from error

    def run(self, *command: str) -> str:
        """What a command prints in the row's namespace."""
        return run(*self.place.command(*command))

    @contextlib.contextmanager
    def disk(self, folder: Path, *, size: str) -> Iterator[None]:
        """The folder is a disk of its own, so small, until all that was started has ended."""
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
        try:
            yield
        finally:
            self.close()
            run("umount", str(folder))

    @contextlib.contextmanager
    def load(self, kind: str, *arguments: object, port: int = 0) -> Iterator[Process]:
        """A load beside the program, once it says that it is up; `arguments` are its counts. No port: the program's."""
        command = _python("load", kind, port or self.port, self.ca, *arguments)
        with (self.folder / "load.log").open("ab") as log:
            process = self._popen(command, stdout=subprocess.PIPE, stderr=log.fileno(), cwd=ROOT)
        try:
            up = self.eventually(lambda: _first_line(process), what=f"the load {kind}", within=90)
            if up != b"up\n":
                raise FaultError(f"the load {kind} ended: {self.last_line('load.log')}")
            yield process
        finally:
            _end(process)

    def hold(self, seconds: float) -> None:
        """Let time pass. Raises InterruptedRowError."""
        if self._stop.wait(seconds):
            raise InterruptedRowError

    def until_ended(self, *, within: float) -> bool:
        """Wait for the program's end; whether it came."""
        with contextlib.suppress(FaultError):
            self.eventually(lambda: self.status is not None, what="the end", within=within)
        return self.status is not None

    def eventually(self, question: Callable[[], T | None], *, what: str, within: float = _START_LIMIT) -> T:
        """The first true answer. Raises FaultError after `within` seconds."""
        end = time.monotonic() + within
        while not (answer := question()):
            if time.monotonic() > end:
                raise FaultError(f"{what}: not within {within:g} s: {self.last_line()}")
            self.hold(0.05)
        return answer

    def logged(self, message: str, *, log: str = "program.log") -> list[dict[str, object]]:
        """The lines of program and judge with this message."""
        lines = [line for line in (self.folder / log).read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["message"] == message]

    def last_line(self, log: str = "program.log") -> str:
        """The end of a log."""
        return _last_line(self.folder / log)

    def close(self) -> None:
        """End all that was started."""
        self._open.close()

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
            self.place.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd or self.folder,
            env={**clean, "GRPC_VERBOSITY": "NONE", **self.shared, **(environment or {})},
            start_new_session=True,  # Ctrl-C is for the matrix, which then takes all away in order
        )
        self._open.callback(_end, process)
        return process


@contextlib.contextmanager
def stage(row: Row, mode: Mode, *, stop: threading.Event, keep: Path | None = None) -> Iterator[Stage]:
    """A row's place, taken away after the block; `keep` is where its files then go."""
    name = f"osm-fault-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, namespace(name) as place:
        made = Stage(row, mode, place=place, folder=Path(folder), stop=stop)
        try:
            yield made
        finally:
            made.close()
            if keep is not None:
                shutil.rmtree(keep / row.name, ignore_errors=True)
                shutil.copytree(folder, keep / row.name, ignore_dangling_symlinks=True)


def _python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"tests.faults.{module}", *map(str, arguments)]


def _read(path: Path, kind: type[T]) -> list[T]:
    if not path.exists():
        return []
    # The last line may be half written.
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [msgspec.json.decode(line, type=kind) for line in whole.splitlines()]


def _first_line(process: Process) -> bytes | None:
    stream: IO[bytes] | None = process.stdout
    if stream is None:
        return None
    os.set_blocking(stream.fileno(), False)
    return stream.readline() or (b"ended" if process.poll() is not None else None)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1][:300] if lines else "it wrote nothing"


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _end(process: Process) -> None:
    if process.poll() is None:
        # A stopped process dies of this too.
        process.send_signal(signal.SIGKILL)
    process.wait(10)
    if process.stdout:
        process.stdout.close()
