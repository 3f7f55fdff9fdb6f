"""The judge runs the checks periodically without any probe requests."""

import asyncio
import contextlib
import subprocess
import time

import msgspec
import pytest

from osm_probes.foundation.listen import listen
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.lifecycle import Phase
from osm_probes.health.stacks import StackFile
from osm_probes.runtime.initial_judge_state import CONTROLLER
from osm_probes.runtime.judge_process import JudgeSupervisor
from tests.ads.fake_ads import fake_ads
from tests.functional.health_client import NOT_SERVING, SERVING, Watch
from tests.metric_samples import samples


async def test_without_probe_requests_a_fault_is_in_watch_metrics_and_log_within_6_s(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heartbeat, stacks = Heartbeat.create(), StackFile.create()
    heartbeat.show(Phase.SERVING, has_served=True)
    judge_state = msgspec.structs.replace(CONTROLLER, ready=("ads",), heartbeat_limit=60.0)
    with contextlib.ExitStack() as opened:
        http, grpc = (opened.enter_context(listen(0)) for _ in range(2))
        judge = opened.enter_context(
            JudgeSupervisor(InheritedSockets(http, heartbeat, stacks, grpc), judge_state=judge_state)
        )

        def metrics() -> dict[str, float]:
            url = f"http://127.0.0.1:{http.getsockname()[1]}/metrics"
            text = subprocess.run(["curl", "-s", url], capture_output=True, text=True, timeout=10, check=True).stdout
            return samples(text)

        async with fake_ads() as canary:
            judge.update(msgspec.structs.replace(judge_state, ads=canary))
            watch = await asyncio.to_thread(Watch, grpc.getsockname()[1], "")
            opened.callback(watch.close)
            status = b""
            while status != SERVING:
                _, status = await asyncio.to_thread(watch.statuses.get, timeout=7)
        stopped_at = time.monotonic()
        reported_at, status = await asyncio.to_thread(watch.statuses.get, timeout=8)
        assert (status, reported_at - stopped_at < 6) == (NOT_SERVING, True)
        values = await asyncio.to_thread(metrics)
        assert values["osm_health_check,ads,ready"] == 0
        assert values["osm_health_transitions_total,ready"] >= 1
        assert values["osm_health_check_duration_seconds_count,ads"] >= 2
    log = capfd.readouterr().err
    assert '"message":"a probe fell","probe":"ready","check":"ads"' in log
    stacks.close()
    heartbeat.close()
