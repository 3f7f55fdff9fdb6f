import asyncio
import gc

import pytest

from osm_probes.foundation.tasks import TaskCancelledError, background_tasks, end_of, finished, lasting_tasks
from tests.log_capture import capture_logs


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


def task_named(name: str) -> "asyncio.Task[object]":
    return next(task for task in asyncio.all_tasks() if task.get_name() == name)


async def test_a_background_task_that_somebody_else_cancels_ends_the_block_with_its_name() -> None:
    async def cancel() -> None:
        await asyncio.sleep(0)
        task_named("work").cancel()

    with pytest.raises(TaskCancelledError, match="work was cancelled"):
        async with background_tasks(work=asyncio.sleep(60), other=cancel()):
            await asyncio.sleep(60)


async def test_the_error_of_a_background_task_is_raised_and_not_the_cancellation_of_the_others() -> None:
    async def work() -> None:
        await asyncio.sleep(0.01)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        async with background_tasks(other=asyncio.sleep(60), work=work()):
            await asyncio.sleep(60)


async def test_a_background_task_may_return() -> None:
    async with background_tasks(work=asyncio.sleep(0)):
        await asyncio.sleep(0.01)


async def test_a_background_task_that_never_began_leaves_no_warning() -> None:
    with pytest.raises(KeyError):
        async with background_tasks(work=asyncio.sleep(60)):
            raise KeyError("x")
    gc.collect()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "ended by itself"),
        (RuntimeError("File descriptor 25 is used by transport"), "RuntimeError: File descriptor 25 is used"),
        (BaseExceptionGroup("several", [asyncio.CancelledError(), ValueError("x")]), "BaseExceptionGroup: several"),
        (asyncio.CancelledError(), "was cancelled"),
    ],
    ids=["return", "error", "group", "cancellation"],
)
async def test_a_lasting_task_is_started_again_however_it_ends(error: BaseException | None, reason: str) -> None:
    started = asyncio.Semaphore(0)
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        started.release()
        if attempts > 2:
            await asyncio.sleep(60)
        elif error is not None:
            raise error

    with capture_logs() as logs:
        async with asyncio.timeout(20), lasting_tasks(work=work):
            for _ in range(3):
                await started.acquire()
    assert [(entry["event"], entry["task"]) for entry in logs] == 2 * [("a task ended and is started again", "work")]
    assert str(logs[0]["error"]).startswith(reason)


async def test_a_lasting_task_that_somebody_else_cancels_is_started_again() -> None:
    started = asyncio.Semaphore(0)

    async def work() -> None:
        started.release()
        await asyncio.sleep(60)

    async with asyncio.timeout(20), lasting_tasks(work=work):
        await started.acquire()
        task_named("work").cancel()
        await started.acquire()


async def test_a_lasting_task_is_not_started_again_after_the_block() -> None:
    started = 0

    async def work() -> None:
        nonlocal started
        started += 1

    async with lasting_tasks(work=work):
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)
    assert started == 1


async def test_the_error_of_a_lasting_task_at_the_end_of_the_block_is_logged() -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("gone")

    with capture_logs() as logs:
        async with lasting_tasks(work=work):
            await asyncio.sleep(0)
    assert [entry["event"] for entry in logs] == ["a task failed"]


async def test_a_coroutine_that_raises_cancelled_error_does_not_cancel_its_caller() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    task = await finished(work(), name="work")
    assert end_of(task) == "was cancelled"


async def test_a_task_of_its_own_is_cancelled_with_its_caller() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            _ = await finished(work(), name="work")
    await asyncio.wait_for(ended.wait(), 5)
