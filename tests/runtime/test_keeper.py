from msgspec import structs
from structlog.testing import capture_logs

from osm_probes.foundation.listen import listen
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.judge_state import CONTROLLER
from osm_probes.health.stacks import StackFile
from osm_probes.runtime.judge_process import InheritedSockets, JudgeSupervisor


def test_a_text_that_is_no_unicode_costs_nobody_the_judge() -> None:
    with listen(0) as listener, capture_logs() as logs:
        keeper = JudgeSupervisor(
            InheritedSockets(listener, Heartbeat.create(), StackFile.create()), judge_state=CONTROLLER
        )
        keeper.tell(structs.replace(CONTROLLER, told={"mesh": "\udcff.yaml"}))
    assert [entry["event"] for entry in logs] == ["the judge cannot be told: it keeps what it knows"]
