import asyncio
from pathlib import Path

from structlog.testing import capture_logs

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.event_object import Severity
from osm_probes.kube.events import EventRecorder
from tests.kube.answering import answering


async def test_who_says_much_while_the_api_server_is_away_does_not_ask_it_more_often(tmp_path: Path) -> None:
    async with answering(tmp_path, "") as (client, there):
        recorder = EventRecorder(client, namespace="osm-system", pod="osm-controller-0", component="osm-controller")
        async with background_tasks(run=recorder.run()):
            for _ in range(60):
                recorder.say("NotReady", "so", severity=Severity.WARNING)
                await asyncio.sleep(0.01)
        assert 1 <= there.requests <= 5


async def test_what_answers_nonsense_ends_nothing(tmp_path: Path) -> None:
    async with answering(tmp_path, "<html>Welcome</html>") as (client, there):
        recorder = EventRecorder(client, namespace="osm-system", pod="osm-controller-0", component="osm-controller")
        async with background_tasks(run=recorder.run()):
            recorder.say("NotReady", "so", severity=Severity.WARNING)
            async with asyncio.timeout(5):
                while there.requests < 2:  # noqa: ASYNC110 - the pod is read, the Event written
                    await asyncio.sleep(0.01)


async def test_64_reasons_are_kept_and_further_ones_are_left_out(tmp_path: Path) -> None:
    async with answering(tmp_path, "") as (client, _):
        recorder = EventRecorder(client, namespace="osm-system", pod="osm-controller-0", component="osm-controller")
        with capture_logs() as lines:
            for number in range(65):
                recorder.say(f"Reason{number}", "so", severity=Severity.NORMAL)
        assert [line["reason"] for line in lines] == ["Reason64"]
