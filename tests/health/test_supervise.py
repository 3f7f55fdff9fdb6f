import asyncio

from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.supervise import supervised_tasks
from tests.log_capture import capture_logs


def _serving() -> Lifecycle:
    lifecycle = Lifecycle("ADS")
    lifecycle.move(Phase.SERVING, reason="listening")
    return lifecycle


async def _end() -> None:
    return


async def _break() -> None:
    raise ConnectionError("listener gone")


async def test_an_unexpected_end_is_a_failure_logged_once() -> None:
    lifecycle = _serving()
    with capture_logs() as logs:
        async with supervised_tasks(lifecycle, watch=_end(), other=_end()):
            await lifecycle.until(Phase.FAILED, within=5)
            await asyncio.sleep(0)
    assert [(entry["event"], entry["task"], entry["error"]) for entry in logs] == [
        ("a component failed", "watch", "ended by itself")
    ]


async def test_an_error_is_the_reason_of_the_failure() -> None:
    lifecycle = _serving()
    async with supervised_tasks(lifecycle, watch=_break()):
        await lifecycle.until(Phase.FAILED, within=5)
    assert lifecycle.reason == "watch: ConnectionError: listener gone"


async def test_a_task_that_somebody_else_cancels_is_a_failure() -> None:
    lifecycle = _serving()
    async with supervised_tasks(lifecycle, watch=asyncio.sleep(60)):
        next(task for task in asyncio.all_tasks() if task.get_name() == "watch").cancel()
        await lifecycle.until(Phase.FAILED, within=5)
    assert lifecycle.reason == "watch: was cancelled"


async def test_the_end_of_a_draining_component_is_no_failure() -> None:
    lifecycle = _serving()
    lifecycle.move(Phase.DRAINING, reason="SIGTERM")
    async with supervised_tasks(lifecycle, watch=_end()):
        await asyncio.sleep(0.01)
    assert lifecycle.phase is Phase.DRAINING


async def test_the_end_of_the_block_is_no_failure() -> None:
    lifecycle = _serving()
    async with supervised_tasks(lifecycle, watch=asyncio.sleep(60)):
        await asyncio.sleep(0)
    assert lifecycle.phase is Phase.SERVING
