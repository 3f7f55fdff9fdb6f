import os
import signal
import subprocess
import sys

from msgspec import structs

from osm_probes.foundation.listen import listen
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.stacks import StackFile
from osm_probes.runtime.initial_judge_state import CONTROLLER
from osm_probes.runtime.judge_process import JudgeSupervisor, is_runnable
from tests.log_capture import capture_logs
from tests.standin import until


def test_a_process_that_computes_is_runnable_and_one_that_sleeps_or_is_stopped_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        until(lambda: is_runnable(busy.pid), within=5)
        os.kill(busy.pid, signal.SIGSTOP)
        until(lambda: not is_runnable(busy.pid), within=5)
        busy.kill()
    with subprocess.Popen(["sleep", "60"]) as asleep:
        until(lambda: not is_runnable(asleep.pid), within=5)
        asleep.kill()
    assert not is_runnable(asleep.pid)


def test_a_text_that_is_not_unicode_leaves_the_judge_with_its_state() -> None:
    with listen(0) as listener, capture_logs() as logs:
        sockets = InheritedSockets(listener, Heartbeat.create(), StackFile.create())
        judge = JudgeSupervisor(sockets, judge_state=CONTROLLER)
        judge.update(structs.replace(CONTROLLER, problems={"mesh": "\udcff.yaml"}))
    assert [entry["event"] for entry in logs] == ["a state cannot be sent to the judge, which keeps the one before"]
