import asyncio
from pathlib import Path

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.leader_election import LeaderElector
from osm_probes.kube.lease import Terms
from tests.kube.answering import answering


async def test_what_answers_nonsense_ends_nothing(tmp_path: Path) -> None:
    async with answering(tmp_path, "<html>Welcome</html>") as (client, there):
        terms = Terms(duration=0.3, give_up=0.2, renew=0.02)
        elector = LeaderElector(client, namespace="osm-system", name="osm-controller", candidate="a", terms=terms)
        async with background_tasks(run=elector.run()), asyncio.timeout(5):
            while there.requests < 3:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.01)
        assert not elector.holds.value
