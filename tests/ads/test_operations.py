import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

from osm_probes.ads.operations import Operations


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("the stream has ended")


async def test_an_operation_has_its_result() -> None:
    async def operation() -> int:
        return 1

    assert await Operations().run(operation(), name="read") == 1


async def test_an_operation_raises_its_error() -> None:
    with pytest.raises(ValueError, match="has ended"):
        await Operations().run(fail(), name="read")


async def test_an_operation_goes_on_if_its_caller_is_cancelled() -> None:
    operations, begun, released, ended = Operations(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    ends: list[str] = []

    async def operation() -> None:
        begun.set()
        try:
            await released.wait()
            ends.append("completed")
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        finally:
            ended.set()

    caller = asyncio.create_task(operations.run(operation(), name="read"))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    released.set()
    await ended.wait()
    assert ends == ["completed"]


async def test_the_error_of_an_operation_without_a_caller_is_not_logged() -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    await asyncio.wait({Operations().start(fail(), name="read")})
    gc.collect()  # asyncio logs the error of a task that is deleted
    assert not logged


class DisconnectedError(Exception):
    """A class of Python's: only those have weak references."""


async def test_the_error_of_an_operation_is_not_in_a_reference_cycle() -> None:
    left: list[weakref.ref[DisconnectedError]] = []

    async def operation() -> None:
        await asyncio.sleep(0)
        error = DisconnectedError()
        left.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.collect()
    gc.disable()  # a cycle would stay until the garbage collector runs
    try:
        with contextlib.suppress(DisconnectedError):
            await Operations().run(operation(), name="read")
        await asyncio.sleep(0)
        assert left[0]() is None
    finally:
        gc.enable()
