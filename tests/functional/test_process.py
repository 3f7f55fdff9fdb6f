"""The programs as processes: signals, process 1 of a container, limits of the system."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.functional.programs import running
from tests.standin import children, until
from tests.standin import running as is_running

_IN_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_sighup_and_sigquit_drain_and_exit_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        assert program.stop(number) == 0
        assert [line["phase"] for line in program.lines("phase")] == ["STARTING", "SERVING", "DRAINING", "STOPPED"]
        stacks = program.lines("SIGQUIT: the stacks of all threads")
        assert [("osm_probes" in line["stacks"]) for line in stacks] == ([True] if number == signal.SIGQUIT else [])


def test_sigusr2_changes_nothing(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        program.process.send_signal(signal.SIGUSR2)
        assert program.get("/health/ready") == "Service is ready"
        assert program.stop() == 0


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0])
def test_a_stop_during_the_start_leaves_no_judge_on_the_port(tmp_path: Path, delay: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running("osm-injector", tmp_path, f"--http-port={port}") as program:
        time.sleep(delay)
        judges = children(program.process.pid)
        # Before the interpreter runs the program's first line, only the default action can answer.
        assert program.stop(within=30) in {0, -signal.SIGTERM}
        # The death signal of the kernel is the second line of defence: it takes as long as the start of an interpreter.
        until(lambda: not any(is_running(judge) for judge in judges), within=5)
        with contextlib.closing(socket.create_server(("127.0.0.1", port), reuse_port=False)):
            pass


@pytest.mark.netns
def test_process_1_of_a_container_stops_at_sigterm_and_reaps_orphans(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, where=_IN_PID_NAMESPACE) as program:
        program.until_ready()
        init = children(program.process.pid)[0]
        enter = ("nsenter", "--target", str(init), "--pid")
        # The shell ends at once, and its child becomes a child of process 1.
        subprocess.run([*enter, "sh", "-c", "sleep 0.2 & exit 0"], check=True, timeout=20)
        until(lambda: _zombies(init) == [], within=15)
        assert program.get("/health/alive") == "Service is alive"
        os.kill(init, signal.SIGTERM)
        assert program.process.wait(20) == 0


def _zombies(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and (state == "Z" or "sleep" in (stat.parent / "comm").read_text()):
                found.append(int(stat.parent.name))
    return found


def test_a_program_without_address_space_still_stops_within_its_grace(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--grace=3s") as program:
        program.until_ready()
        pid = program.process.pid
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + (1 << 20), used + (1 << 20)))
        assert program.stop(within=20) == 0
