"""The one place where tasks are started: each has a name, and an owner that notices its end."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.rate_limited_log import RateLimitedLog

T = TypeVar("T")

Work = Coroutine[Any, Any, None]

_LONGEST_PAUSE: Final = 8.0


class TaskCancelledError(OsmError):
    """A task was cancelled, and not by its owner."""


@asynccontextmanager
async def background_tasks(**works: Work) -> AsyncGenerator[None, None]:
    """Run each of `works` as a task of its keyword's name while the block lasts, then cancel it and wait for its end.

    The first error, of a task or of the block, ends all of them and is raised. A task that somebody else cancels is an
    error as well, TaskCancelledError. A task whose work is done may return.
    """
    ending = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_noticed(work, name, ending), name=name) for name, work in works.items()]
            try:
                yield
            finally:
                ending.set()
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for work in works.values():
            work.close()  # it never began if its task was cancelled at once


async def _noticed(work: Work, name: str, ending: asyncio.Event) -> None:
    try:
        await work
    except asyncio.CancelledError as error:
        if ending.is_set():
            raise
        raise TaskCancelledError(f"the task {name} was cancelled") from error


@asynccontextmanager
async def watched_tasks(on_end: Callable[[str, str], None], **works: Work) -> AsyncGenerator[None, None]:
    """Run each of `works` as a task of its keyword's name while the block lasts, then cancel it and wait for its end.

    `on_end(name, reason)` is called for each that ends before: that returns, raises or is cancelled. The block goes on.
    """
    async with _Watched(on_end) as tasks:
        for name, work in works.items():
            _ = tasks.start(work, name=name)
        yield


@asynccontextmanager
async def lasting_tasks(**works: Callable[[], Work]) -> AsyncGenerator[None, None]:
    """Run each of these coroutine functions while the block lasts: work that nothing ends, and that ends nothing.

    One that returns, raises or is cancelled is logged, and is started again after a pause of 0.1 to 8 s.
    """
    log = RateLimitedLog("program")
    backoffs = {name: Backoff(most=_LONGEST_PAUSE) for name in works}
    started = dict.fromkeys(works, 0.0)
    loop = asyncio.get_running_loop()

    def begin(name: str) -> None:
        if not tasks.ending:
            started[name] = time.monotonic()
            _ = tasks.start(works[name](), name=name)

    def begin_again(name: str, reason: str) -> None:
        log.error("a task ended and is started again", task=name, error=reason)
        if time.monotonic() - started[name] > _LONGEST_PAUSE:
            backoffs[name].reset()
        loop.call_later(backoffs[name].pause(), begin, name)

    async with _Watched(begin_again) as tasks:
        for name in works:
            begin(name)
        yield


async def finished(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Run `work` as a task of its own and wait for its end, however it ends. It is cancelled with its caller.

    For coroutines of libraries that may raise CancelledError although nobody cancels the caller.
    """
    task = start(work, name=name)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    return task


def end_of(task: asyncio.Task[Any]) -> str:
    """How a task has ended, for logs."""
    if task.cancelled():
        return "was cancelled"
    error = task.exception()
    return f"{type(error).__name__}: {error}" if error else "ended by itself"


def start(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start one task that its caller awaits, such as behind `asyncio.shield`."""
    return asyncio.get_running_loop().create_task(work, name=name)


class TaskPool:
    """Tasks that come and go, such as one for each connection. At the end of the block they are cancelled and awaited.

    A task that raises ends alone: its error is logged, and the others go on. ending: the end of the block has begun.
    """

    def __init__(self, component: str) -> None:
        self.ending = False
        self._log = RateLimitedLog(component)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ending = True
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def start(self, work: Work, *, name: str) -> asyncio.Task[None]:
        """Start a task of this pool."""
        task = start(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a task failed", task=task.get_name(), error=repr(error))


class _Watched(TaskPool):
    """Tasks whose end before that of the block is told to `on_end`, with the name and the reason."""

    def __init__(self, on_end: Callable[[str, str], None]) -> None:
        super().__init__("program")
        self._on_end = on_end

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.ending:
            super()._ended(task)
        else:
            self._tasks.discard(task)
            self._on_end(task.get_name(), end_of(task))
