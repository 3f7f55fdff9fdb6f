import asyncio

import pytest

from osm_probes.foundation.errors import OsmError
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.recovery import recover
from tests.log_capture import capture_logs


class Port:
    """Free after so many attempts; time passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, taken: int) -> None:
        self.now = 0.0
        self.attempts: list[float] = []
        self.tried = asyncio.Event()
        self.taken = taken
        self.lifecycle = Lifecycle("ADS", clock=lambda: self.now)
        self.lifecycle.move(Phase.SERVING, reason="listening")
        monkeypatch.setattr(self.lifecycle, "until", self.until)

    async def until(self, *phases: Phase, within: float) -> Phase:
        self.now = round(self.now + within, 3)
        await asyncio.sleep(0)
        if self.lifecycle.phase not in phases:
            raise TimeoutError
        return self.lifecycle.phase

    async def bind(self) -> None:
        assert self.lifecycle.phase is Phase.RECOVERING
        self.attempts.append(self.now)
        self.tried.set()
        if len(self.attempts) <= self.taken:
            raise OsmError("the port is taken")


async def test_a_lost_listening_socket_is_bound_again_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port(monkeypatch, taken=2)
    with capture_logs() as logs:
        await recover(port.lifecycle, port.bind, reason="it is gone")
    assert (port.lifecycle.phase, port.lifecycle.reason) == (Phase.SERVING, "listening again after 0.7 s")
    assert [(entry["event"], entry["error"]) for entry in logs] == [("the listening socket is lost", "it is gone")]


async def test_binding_is_retried_with_growing_pauses_for_ten_seconds_and_then_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = Port(monkeypatch, taken=100)
    with pytest.raises(OsmError, match="the port is taken"):
        await recover(port.lifecycle, port.bind, reason="it is gone")
    assert port.attempts == [0.1, 0.3, 0.7, 1.5, 3.1, 5.1, 7.1, 9.1, 10.0]


async def test_a_component_that_drains_meanwhile_does_not_bind_again(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port(monkeypatch, taken=100)
    recovering = asyncio.create_task(recover(port.lifecycle, port.bind, reason="it is gone"))
    await port.tried.wait()
    port.lifecycle.move(Phase.DRAINING, reason="asked to stop")
    attempts = len(port.attempts)
    await recovering
    assert (len(port.attempts), port.lifecycle.phase) == (attempts, Phase.DRAINING)


async def test_a_stop_does_not_wait_for_the_next_attempt() -> None:
    lifecycle = Lifecycle("ADS")
    lifecycle.move(Phase.SERVING, reason="listening")

    async def bind() -> None:
        pytest.fail("who stops binds nothing")

    recovering = asyncio.create_task(recover(lifecycle, bind, reason="it is gone"))
    await asyncio.sleep(0)
    lifecycle.move(Phase.DRAINING, reason="asked to stop")
    async with asyncio.timeout(0.05):
        await recovering


async def test_a_component_that_drains_during_a_bind_stays_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port(monkeypatch, taken=0)

    async def bind() -> None:
        port.lifecycle.move(Phase.DRAINING, reason="asked to stop")

    await recover(port.lifecycle, bind, reason="it is gone")
    assert port.lifecycle.phase is Phase.DRAINING


async def test_an_unexpected_error_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port(monkeypatch, taken=0)

    async def bind() -> None:
        await port.bind()
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        await recover(port.lifecycle, bind, reason="it is gone")
    assert port.attempts == [0.1]
