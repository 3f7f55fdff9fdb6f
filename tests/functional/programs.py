"""The real programs as child processes on free ports: start, query, stop."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.standin import until

BOOKSTORE = Path(__file__).parents[2] / "examples" / "bookstore"
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Program:
    """A running program. where: the command prefix that enters the program's network namespace, if it has its own."""

    process: "subprocess.Popen[bytes]"
    log: Path
    where: Sequence[str] = ()

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The log lines with this message."""
        # The last line may be incomplete.
        text = self.log.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, text.splitlines()) if line["message"] == message]

    def logged(self, message: str, **facts: object) -> dict[str, Any]:
        """Wait for a log line with this message and these facts, and return the first one."""
        lines = until(lambda: [line for line in self.lines(message) if facts.items() <= line.items()], within=15)
        return lines[0]

    @property
    def http_port(self) -> int:
        """The port of the probes."""
        return int(self.logged("listening", component="probes")["port"])

    @property
    def debug_port(self) -> int:
        """The controller's port on loopback with the names of objects."""
        return int(self.logged("listening", component="debug")["port"])

    @property
    def served_port(self) -> int:
        """Wait until the ADS or the webhook listens, and return its port."""
        return int(self.logged("phase", phase="SERVING")["reason"].rpartition(":")[2].rpartition(" ")[2])

    def get(self, path: str, *flags: str) -> str:
        """The output of curl for a path on the probes' port."""
        return curl(f"http://127.0.0.1:{self.http_port}{path}", *flags, where=self.where)

    def debug(self, path: str, *flags: str) -> str:
        """The output of curl for a path on the debug port."""
        return curl(f"http://127.0.0.1:{self.debug_port}{path}", *flags, where=self.where)

    def until_ready(self) -> None:
        """Wait until /health/ready returns 200."""
        until(lambda: self.get("/health/ready") == "Service is ready", within=15)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = 15) -> int:
        """Send a signal and wait for the exit status."""
        self.process.send_signal(number)
        return self.process.wait(within)


def curl(url: str, *flags: str, where: Sequence[str] = ()) -> str:
    """The output of curl; empty if there is no response."""
    command = [*where, "curl", "-s", "--noproxy", "*", "--max-time", "10", *flags, url]
    # Bytes, because text mode would turn each CR LF of the header into LF.
    return subprocess.run(command, capture_output=True, check=False, timeout=20).stdout.decode()


@contextlib.contextmanager
def running(
    name: str,
    folder: Path,
    *flags: str,
    mesh_dir: Path | None = None,
    where: Sequence[str] = (),
    source: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """A program of this project on free ports, with its log, its CA and (unless given) its mesh in `folder`.

    where: a command prefix, such as one that enters a network namespace; it must exec the program.
    source: the flags that name the sources of mesh and CA, if these are not folders.
    """
    if mesh_dir is None and not source:
        mesh_dir = folder / "mesh"
        shutil.copytree(BOOKSTORE, mesh_dir, dirs_exist_ok=True)
    source = source or ("--mesh-dir", str(mesh_dir), "--ca-dir", str(folder / "ca"))
    own = ("--ads-port=0", "--debug-port=0") if name == "osm-controller" else ("--webhook-port=0",)
    ports = ("--http-port=0", *own)
    standard = (*source, "--drain-delay=300ms", *ports)
    log = folder / f"{name}.log"
    command = [*where, str(_BIN / name), *standard, *flags]
    with log.open("wb") as stderr:
        variables = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr, env=variables)
    try:
        yield Program(process, log, where)
    finally:
        process.kill()
        process.wait()


def run_to_exit(name: str, flags: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a program that is expected to exit by itself."""
    return subprocess.run([str(_BIN / name), *flags], capture_output=True, text=True, check=False, timeout=30)
