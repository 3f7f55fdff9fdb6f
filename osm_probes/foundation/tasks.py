"""The one place where tasks are started: each has a name and an owner that sees its end."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from osm_probes.foundation.rate_limited_log import RateLimitedLog

T = TypeVar("T")


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


def start(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start one task that its caller awaits, such as behind `asyncio.shield`."""
    return asyncio.get_running_loop().create_task(work, name=name)


class TaskPool:
    """Tasks that come and go, such as one for each connection. At the end of the block they are cancelled and awaited.

    A task that raises ends alone: its error is logged, and the others go on.
    """

    def __init__(self, component: str) -> None:
        self._log = RateLimitedLog(component)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a task of this pool."""
        task = start(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a task failed", task=task.get_name(), error=repr(error))
