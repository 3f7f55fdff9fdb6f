import asyncio
import itertools

import pytest

from osm_probes.health.lifecycle import ImpossibleMoveError, Lifecycle, Phase

_ALLOWED = {
    (Phase.STARTING, Phase.SERVING),
    (Phase.STARTING, Phase.STOPPED),
    (Phase.STARTING, Phase.FAILED),
    (Phase.SERVING, Phase.RECOVERING),
    (Phase.SERVING, Phase.DRAINING),
    (Phase.SERVING, Phase.FAILED),
    (Phase.RECOVERING, Phase.SERVING),
    (Phase.RECOVERING, Phase.DRAINING),
    (Phase.RECOVERING, Phase.FAILED),
    (Phase.DRAINING, Phase.STOPPED),
    (Phase.DRAINING, Phase.FAILED),
    (Phase.FAILED, Phase.STOPPED),
}
_WAY = {
    Phase.STARTING: [],
    Phase.SERVING: [Phase.SERVING],
    Phase.RECOVERING: [Phase.SERVING, Phase.RECOVERING],
    Phase.DRAINING: [Phase.SERVING, Phase.DRAINING],
    Phase.STOPPED: [Phase.STOPPED],
    Phase.FAILED: [Phase.FAILED],
}


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(Phase, 2)))
def test_only_the_allowed_moves_are_possible(before: Phase, after: Phase) -> None:
    lifecycle = Lifecycle("ADS")
    for phase in _WAY[before]:
        lifecycle.move(phase, reason="on the way")
    if (before, after) in _ALLOWED:
        lifecycle.move(after, reason="because")
        assert (lifecycle.phase, lifecycle.reason) == (after, "because")
    else:
        with pytest.raises(ImpossibleMoveError, match="ADS cannot go"):
            lifecycle.move(after, reason="because")


def test_having_served_is_remembered() -> None:
    lifecycle = Lifecycle("ADS")
    assert not lifecycle.has_served
    lifecycle.move(Phase.SERVING, reason="listening")
    lifecycle.move(Phase.FAILED, reason="lost")
    assert lifecycle.has_served


def test_its_age_counts_from_the_last_move() -> None:
    now = 100.0
    lifecycle = Lifecycle("ADS", clock=lambda: now)
    now = 105.0
    lifecycle.move(Phase.SERVING, reason="listening")
    now = 107.0
    lifecycle.move(Phase.SERVING, reason="again is no move")
    assert lifecycle.age == 2.0


async def test_a_waiter_wakes_at_the_phase_it_waits_for() -> None:
    lifecycle = Lifecycle("ADS")
    waiter = asyncio.create_task(lifecycle.until(Phase.FAILED, Phase.STOPPED, within=1))
    await asyncio.sleep(0)
    lifecycle.move(Phase.SERVING, reason="listening")
    lifecycle.move(Phase.FAILED, reason="lost")
    assert await waiter is Phase.FAILED


async def test_waiting_has_a_time_limit() -> None:
    with pytest.raises(TimeoutError):
        await Lifecycle("ADS").until(Phase.SERVING, within=0.01)
