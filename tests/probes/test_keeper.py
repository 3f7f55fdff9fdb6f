from msgspec import structs
from structlog.testing import capture_logs

from osm_probes.health.briefing import CONTROLLER
from osm_probes.health.pulse import Pulse
from osm_probes.health.stacks import StackFile
from osm_probes.probes.child import Estate
from osm_probes.probes.keeper import JudgeKeeper
from osm_probes.probes.listen import listen


def test_a_text_that_is_no_unicode_costs_nobody_the_judge() -> None:
    with listen(0) as listener, capture_logs() as logs:
        keeper = JudgeKeeper(Estate(listener, Pulse.create(), StackFile.create()), briefing=CONTROLLER)
        keeper.tell(structs.replace(CONTROLLER, told={"mesh": "\udcff.yaml"}))
    assert [entry["event"] for entry in logs] == ["the judge cannot be told: it keeps what it knows"]
