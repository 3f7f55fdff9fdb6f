import asyncio

import pytest

from osm_probes.foundation.tasks import background_tasks


async def test_background_tasks_end_with_their_block() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background_tasks(work=work()):
        await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()


async def test_an_error_of_a_background_task_ends_the_block() -> None:
    async def work() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        async with background_tasks(work=work(), other=asyncio.sleep(60)):
            await asyncio.sleep(60)


async def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with background_tasks(work=asyncio.sleep(60)):
            raise KeyError("x")


async def test_a_cancelled_block_raises_cancelled_error() -> None:
    async def run() -> None:
        async with background_tasks(work=asyncio.sleep(60)):
            await asyncio.sleep(60)

    task = asyncio.create_task(run())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
