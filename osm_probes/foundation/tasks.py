"""Foundation: work that goes on beside a block and ends with it."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def background_tasks(**works: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run each of `works` as a task of its keyword's name while the block lasts, then cancel it and wait for its end.

    The first error, of a task or of the block, ends all of them and is raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work, name=name) for name, work in works.items()]
            yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
