"""Real programs as processes: started on free ports, asked, stopped."""

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
    """A running program: its process, its log, and where it runs: what a command begins with there."""

    process: "subprocess.Popen[bytes]"
    log: Path
    where: Sequence[str] = ()

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The log lines with this message."""
        # The last line may be half written.
        text = self.log.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, text.splitlines()) if line["message"] == message]

    def logged(self, message: str, **facts: object) -> dict[str, Any]:
        """The first log line with this message and these facts; waits for it."""
        found = until(lambda: [line for line in self.lines(message) if facts.items() <= line.items()], within=15)
        return found[0]

    @property
    def http_port(self) -> int:
        """Where its probes answer."""
        return int(self.logged("listening", component="probes")["port"])

    @property
    def served_port(self) -> int:
        """Where its ADS or its webhook listens; waits until it does."""
        return int(self.logged("phase", phase="SERVING")["reason"].rpartition(":")[2].rpartition(" ")[2])

    def get(self, path: str, *flags: str) -> str:
        """What curl prints for a path of the probes' port."""
        return curl(f"http://127.0.0.1:{self.http_port}{path}", *flags, where=self.where)

    def until_ready(self) -> None:
        """Wait until /health/ready says 200."""
        until(lambda: self.get("/health/ready") == "Service is ready", within=15)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = 15) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(within)


def curl(url: str, *flags: str, where: Sequence[str] = ()) -> str:
    """What curl prints; "" where nobody answers."""
    command = [*where, "curl", "-s", "--noproxy", "*", "--max-time", "10", *flags, url]
    # Bytes: as text, each CR LF of the head would become LF.
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
    """A program of this project on free ports, with its log, CA and (unless given) mesh in `folder`.

    `where`: what its command begins with, such as what enters a network namespace; it must become the program.
    `source`: the flags that say where mesh and CA come from, if not from folders.
    """
    if mesh_dir is None and not source:
        mesh_dir = folder / "mesh"
        shutil.copytree(BOOKSTORE, mesh_dir, dirs_exist_ok=True)
    source = source or ("--mesh-dir", str(mesh_dir), "--ca-dir", str(folder / "ca"))
    ports = ("--http-port=0", "--ads-port=0") if name == "osm-controller" else ("--http-port=0", "--webhook-port=0")
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


def ended(name: str, flags: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """A program that is expected to end by itself."""
    return subprocess.run([str(_BIN / name), *flags], capture_output=True, text=True, check=False, timeout=30)
