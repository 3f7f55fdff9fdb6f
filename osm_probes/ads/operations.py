"""Reads and writes of gRPC streams, which run to their end although the streams that wait for them are cancelled.

grpc does not free the memory of an operation whose caller is cancelled (https://github.com/grpc/grpc/issues/43360): 96
bytes for a read. A read is in progress whenever this server ends a stream, or a proxy disconnects.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from osm_probes.foundation.tasks import start

T = TypeVar("T")


class Operations:
    """The operations in progress. Nothing cancels them: they end with their streams at the latest."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, operation: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start an operation as a task that its caller may wait for, but must not cancel."""
        task = start(operation, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def run(self, operation: Coroutine[Any, Any, T], *, name: str) -> T:
        """The result of an operation. If the caller is cancelled meanwhile, the operation goes on without it."""
        task = self.start(operation, name=name)
        try:
            await asyncio.wait({task})
            return task.result()
        finally:
            # The task has the error, whose traceback has this frame: a cycle would keep the stream and its messages.
            del task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Otherwise asyncio logs the error of an operation that nobody waits for any more.
            _ = task.exception()
