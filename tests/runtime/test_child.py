import os
import signal
import subprocess
import sys

from osm_probes.runtime.judge_process import waits_for_machine
from tests.standin import until


def test_who_computes_waits_for_the_machine_and_who_sleeps_or_is_stopped_does_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        until(lambda: waits_for_machine(busy.pid), within=5)
        os.kill(busy.pid, signal.SIGSTOP)
        until(lambda: not waits_for_machine(busy.pid), within=5)
        busy.kill()
    with subprocess.Popen(["sleep", "60"]) as asleep:
        until(lambda: not waits_for_machine(asleep.pid), within=5)
        asleep.kill()
    assert not waits_for_machine(asleep.pid)
