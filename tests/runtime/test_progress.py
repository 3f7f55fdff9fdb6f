import os
import signal
import subprocess
import sys

import pytest

from osm_probes.runtime.progress import Progress, cpu_seconds, is_runnable
from tests.standin import until

BUSY = [sys.executable, "-c", "while True: pass"]


def test_a_process_that_computes_is_runnable_and_one_that_sleeps_or_is_stopped_is_not() -> None:
    with subprocess.Popen(BUSY) as busy:
        until(lambda: is_runnable(busy.pid), within=5)
        os.kill(busy.pid, signal.SIGSTOP)
        until(lambda: not is_runnable(busy.pid), within=5)
        busy.kill()
    with subprocess.Popen(["sleep", "60"]) as asleep:
        until(lambda: not is_runnable(asleep.pid), within=5)
        asleep.kill()
    assert not is_runnable(asleep.pid)


def test_a_process_that_computes_makes_progress_until_its_limit_of_processor_time() -> None:
    with subprocess.Popen(BUSY) as busy:
        progress = Progress(busy.pid, cpu_limit=1.0)
        until(lambda: cpu_seconds(busy.pid) > 0.3, within=30)
        assert progress.made()
        until(lambda: not progress.made(), within=60)
        assert cpu_seconds(busy.pid) >= 1.0
        busy.kill()


def test_a_process_that_sleeps_or_has_ended_makes_no_progress() -> None:
    with subprocess.Popen(["sleep", "60"]) as asleep:
        progress = Progress(asleep.pid, cpu_limit=60.0)
        until(lambda: not progress.made(), within=10)
        asleep.kill()
    until(lambda: not progress.made(), within=10)


@pytest.mark.parametrize("kept", [True, False])
def test_children_that_have_ended_are_reaped_except_the_one_that_is_kept(*, kept: bool) -> None:
    program = (
        "import os, sys, time\n"
        "from osm_probes.runtime.progress import reap_orphans\n"
        "first = os.fork() or os._exit(3)\n"
        "os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)\n"
        f"reap_orphans(*([first] if {kept} else []))\n"
        "try:\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(first, os.WNOHANG)[1]))\n"
        "except ChildProcessError:\n"
        "    print('reaped')\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == ("3" if kept else "reaped")
