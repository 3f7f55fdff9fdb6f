import asyncio
from pathlib import Path

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.leader_election import LeaderElector
from osm_probes.kube.lease import LeaseTiming
from tests.kube.fake_api_server import fake_api_server


async def test_the_elector_survives_responses_that_are_not_json(tmp_path: Path) -> None:
    async with fake_api_server(tmp_path, "<html>Welcome</html>") as (client, server):
        timing = LeaseTiming(duration=0.3, renew_deadline=0.2, retry_period=0.02)
        elector = LeaderElector(client, namespace="osm-system", name="osm-controller", candidate="a", timing=timing)
        async with background_tasks(run=elector.run()), asyncio.timeout(5):
            while server.requests < 3:  # noqa: ASYNC110 - the server does not notify
                await asyncio.sleep(0.01)
        assert not elector.is_leader.value
