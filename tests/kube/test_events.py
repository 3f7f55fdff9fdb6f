import asyncio
from pathlib import Path

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.event_object import Severity
from osm_probes.kube.events import EventRecorder
from tests.kube.fake_api_server import fake_api_server
from tests.log_capture import capture_logs


async def test_many_occurrences_while_the_api_server_is_away_do_not_cause_many_requests(tmp_path: Path) -> None:
    async with fake_api_server(tmp_path, "") as (client, server):
        recorder = EventRecorder(client, namespace="osm-system", pod="osm-controller-0", component="osm-controller")
        async with background_tasks(run=recorder.run()):
            for _ in range(60):
                recorder.record("NotReady", "so", severity=Severity.WARNING)
                await asyncio.sleep(0.01)
        assert 1 <= server.requests <= 5


async def test_the_recorder_survives_responses_that_are_not_json(tmp_path: Path) -> None:
    async with fake_api_server(tmp_path, "<html>Welcome</html>") as (client, server):
        recorder = EventRecorder(client, namespace="osm-system", pod="osm-controller-0", component="osm-controller")
        async with background_tasks(run=recorder.run()):
            recorder.record("NotReady", "so", severity=Severity.WARNING)
            async with asyncio.timeout(5):
                while server.requests < 2:  # noqa: ASYNC110 - the server does not notify; two requests: read the pod, write the Event
                    await asyncio.sleep(0.01)


async def test_64_reasons_are_kept_and_further_ones_are_dropped(tmp_path: Path) -> None:
    async with fake_api_server(tmp_path, "") as (client, _):
        recorder = EventRecorder(client, namespace="osm-system", pod="osm-controller-0", component="osm-controller")
        with capture_logs() as lines:
            for number in range(65):
                recorder.record(f"Reason{number}", "so", severity=Severity.NORMAL)
        assert [line["reason"] for line in lines] == ["Reason64"]
