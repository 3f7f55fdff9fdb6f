import asyncio

import pytest

from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.supervise import supervised
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
        await supervised(lifecycle, _end())
    assert lifecycle.phase is Phase.FAILED
    assert [(entry["event"], entry["error"]) for entry in logs] == [("a component failed", "ended by itself")]


async def test_an_error_is_the_reason_of_the_failure() -> None:
    lifecycle = _serving()
    await supervised(lifecycle, _break())
    assert lifecycle.reason == "ConnectionError: listener gone"


async def test_the_end_of_a_draining_component_is_no_failure() -> None:
    lifecycle = _serving()
    lifecycle.move(Phase.DRAINING, reason="SIGTERM")
    await supervised(lifecycle, _end())
    assert lifecycle.phase is Phase.DRAINING


async def test_a_cancellation_is_passed_on() -> None:
    lifecycle = _serving()
    task = asyncio.create_task(supervised(lifecycle, asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lifecycle.phase is Phase.SERVING
