import asyncio

from osm_probes.foundation.latest import Latest


async def test_an_equal_value_is_no_change() -> None:
    latest = Latest(1)
    assert not latest.set(1)
    assert latest.version == 0


async def test_every_waiting_reader_wakes_at_a_change() -> None:
    latest = Latest("old")
    readers = [asyncio.create_task(latest.after(0)) for _ in range(3)]
    await asyncio.sleep(0)
    latest.set("new")
    assert await asyncio.gather(*readers) == [1, 1, 1]
    assert latest.value == "new"


async def test_a_change_before_the_wait_is_not_lost() -> None:
    latest = Latest(0)
    latest.set(1)
    async with asyncio.timeout(1):
        assert await latest.after(0) == 1


async def test_a_slow_reader_skips_what_it_missed() -> None:
    latest = Latest(0)
    values = latest.values()
    assert await anext(values) == 0
    for value in (1, 2, 3):
        latest.set(value)
    assert await anext(values) == 3
    await values.aclose()


async def test_a_limited_wait_tells_whether_there_was_a_change() -> None:
    latest = Latest(0)
    assert not await latest.changed_after(0, within=0.01)
    latest.set(1)
    assert await latest.changed_after(0, within=0.01)
    assert await latest.changed_after(0, within=None)
