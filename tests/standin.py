"""A program that stands in for a controller: it keeps a judge and does what its standard input says.

Run as a program: `python -m tests.standin HEARTBEAT_LIMIT`. Lines: `phase NAME`, `problem CHECK REASON…`, `exhaust`,
`hold` (the GIL until the next line), `deafen` (to requests for its stacks), `destroy` (its listening socket).
"""

import contextlib
import ctypes
import faulthandler
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from osm_probes.foundation.listen import listen
from osm_probes.foundation.logs import configure_logs
from osm_probes.foundation.problem import Problem
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.lifecycle import Phase
from osm_probes.health.messages import METRICS
from osm_probes.health.stacks import REQUEST, StackFile
from osm_probes.runtime.initial_judge_state import CONTROLLER
from osm_probes.runtime.judge_process import JudgeSupervisor
from tests.listening_sockets import destroy_listening_socket

T = TypeVar("T")

BEAT = 0.05


class StandIn:
    """A running stand-in with its judge. Its log, and the judge's, are in `log`."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, log: Path) -> None:
        self.port = port
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._process.pid

    @property
    def judge(self) -> int:
        """The judge's process; waits until there is one that is none of the dead."""
        return until(lambda: next((each for each in children(self.pid) if running(each)), 0), within=5)

    def say(self, line: str) -> None:
        """Make the program do something."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(line + "\n")
        stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        os.kill(self.pid, number)

    def ask(self, path: str, *, address: str = "127.0.0.1", within: float = 5.0) -> tuple[int, str]:
        """Status and body; status 0 = no response."""
        connection = http.client.HTTPConnection(address, self.port, timeout=within)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (http.client.RemoteDisconnected, ConnectionResetError, TimeoutError):
            return 0, ""
        finally:
            connection.close()

    def serve(self) -> None:
        """Let it be SERVING and ready."""
        for line in ("phase SERVING", "problem mesh", "problem capacity"):
            self.say(line)
        until(lambda: self.ask("/health/alive")[0] == self.ask("/health/ready")[0] == 200, within=5)

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The log lines with this message."""
        # The last line may be half written.
        text = self.log.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, text.splitlines()) if line["message"] == message]


@contextlib.contextmanager
def standing_in(folder: Path, *, heartbeat_limit: float = 1.0) -> Iterator[StandIn]:
    """A stand-in, STARTING, whose judge answers."""
    log = folder / "log"
    command = [sys.executable, "-m", "tests.standin", str(heartbeat_limit)]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, bufsize=1
        )
    try:
        assert process.stdout is not None
        program = StandIn(process, int(process.stdout.readline()), log)
        program.ask("/version")
        yield program
    finally:
        process.kill()
        process.communicate()


def until(ask: Callable[[], T], *, within: float) -> T:
    """What `ask` says, once it says something true. AssertionError after `within` seconds."""
    deadline = time.monotonic() + within
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.002)
    return answer


def children(pid: int) -> list[int]:
    """The processes that this one started and that are not reaped yet."""
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _stat(stat)[1:] == (pid,)]


def running(pid: int) -> bool:
    """True unless it ended; a zombie has."""
    return _stat(Path(f"/proc/{pid}/stat"))[:1] not in ((), ("Z",))


def _stat(path: Path) -> tuple[str | int, ...]:
    try:
        state, parent = path.read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return ()
    return state, int(parent)


def main() -> None:
    """Be the program."""
    configure_logs("info")
    judge_state = msgspec.structs.replace(
        CONTROLLER,
        ready=("mesh", "capacity", "draining"),
        heartbeat_limit=float(sys.argv[1]),
        fixed_bodies={"/version": '{"version":"0.1.0"}'},
    )
    heartbeat = Heartbeat.create()
    threading.Thread(target=_beat, args=(heartbeat,), daemon=True).start()
    with (
        listen(0) as listener,
        JudgeSupervisor(InheritedSockets(listener, heartbeat, StackFile.create()), judge_state=judge_state) as judge,
    ):
        judge.pages = {METRICS: lambda: "osm_standin 1\n", "proxies": lambda: "{}"}
        print(listener.getsockname()[1], flush=True)
        _obey(sys.stdin, judge=judge, heartbeat=heartbeat, judge_state=judge_state, port=listener.getsockname()[1])


def _obey(lines: IO[str], *, judge: JudgeSupervisor, heartbeat: Heartbeat, judge_state: Any, port: int) -> None:
    held = []
    for line in lines:
        word, *rest = line.split()
        if word == "phase":
            phase = Phase[rest[0]]
            heartbeat.show(phase, has_served=phase is not Phase.STARTING)
        elif word == "problem":
            problems = {**judge_state.problems, rest[0]: Problem(" ".join(rest[1:]))}
            judge_state = msgspec.structs.replace(judge_state, problems=problems)
            judge.update(judge_state)
        elif word == "exhaust":
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))
        elif word == "hold":
            ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)  # the empty line that ends it
        elif word == "deafen":
            faulthandler.unregister(REQUEST)
        elif word == "destroy":
            destroy_listening_socket(port)
        elif word == "stop":
            return


def _beat(heartbeat: Heartbeat) -> None:
    while True:
        heartbeat.beat()
        time.sleep(BEAT)


if __name__ == "__main__":
    main()
