import asyncio

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.settle import settle


async def test_a_burst_is_one_wake_up() -> None:
    latest = Latest(0)
    settled = asyncio.create_task(settle(latest, 0, quiet=0.03, at_most=5))
    for value in (1, 2, 3):
        await asyncio.sleep(0)
        latest.set(value)
    assert await settled == 3


async def test_steady_change_does_not_prolong_the_wait() -> None:
    latest = Latest(0)

    async def change_on_and_on() -> None:
        while True:
            latest.set(latest.value + 1)
            await asyncio.sleep(0.001)

    changes = asyncio.create_task(change_on_and_on())
    async with asyncio.timeout(2):
        await settle(latest, 0, quiet=0.5, at_most=0.05)
    changes.cancel()
