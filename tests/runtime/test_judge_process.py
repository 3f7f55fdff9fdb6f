from msgspec import structs

from osm_probes.foundation.listen import listen
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.stacks import StackFile
from osm_probes.runtime.initial_judge_state import CONTROLLER
from osm_probes.runtime.judge_process import JudgeSupervisor
from tests.log_capture import capture_logs


def test_a_text_that_is_not_unicode_leaves_the_judge_with_its_state() -> None:
    with listen(0) as listener, capture_logs() as logs:
        sockets = InheritedSockets(listener, Heartbeat.create(), StackFile.create())
        judge = JudgeSupervisor(sockets, judge_state=CONTROLLER)
        judge.update(structs.replace(CONTROLLER, problems={"mesh": "\udcff.yaml"}))
    assert [entry["event"] for entry in logs] == ["a state cannot be sent to the judge, which keeps the one before"]
