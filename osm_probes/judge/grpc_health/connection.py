"""One client of grpc.health.v1: what it asks -> calls side by side -> what they answer, all of it bounded."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from osm_probes.foundation.logs import logger
from osm_probes.judge.grpc_health.messages import Status
from osm_probes.judge.grpc_health.session import Asked, Code, ConnectionOverError, Dropped, GrpcSession

_FIRST_CALL_WITHIN: Final = 3.0
_IDLE: Final = 60.0
_OLDEST: Final = 1800.0  # a client that vanished without a word is forgotten; one that lives dials again
_UNREAD_LIMIT: Final = 16384
_CHUNK: Final = 16384
_CLOSED_WITHIN: Final = 1.0

Answer = Callable[[Asked, "Connection"], Coroutine[Any, Any, None]]
"""Answers one call of a connection by its `report` or `refuse`."""


class Connection:
    """One client's connection, `since` a moment of the monotonic clock."""

    def __init__(self, answer: Answer) -> None:
        self.since = time.monotonic()
        self._answer = answer
        self._session = GrpcSession()
        self._calls: dict[int, asyncio.Task[None]] = {}

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return bool(self._calls)

    def report(self, call: int, status: Status, *, last: bool = False) -> None:
        """Send a status; the last one ends the call. Raises ConnectionOverError."""
        self._session.report(call, status, last=last)
        self._flush()

    def refuse(self, call: int, code: Code, *, reason: str) -> None:
        """End a call that has no answer yet. Raises ConnectionOverError."""
        self._session.refuse(call, code, reason=reason)
        self._flush()

    async def serve(self, accepted: socket.socket) -> None:
        """Serve until the client goes, is idle for too long or too old, or breaks the rules."""
        try:
            reader, self._writer = await asyncio.open_connection(sock=accepted)
        except OSError:
            accepted.close()
            return
        try:
            async with asyncio.timeout(_OLDEST), asyncio.TaskGroup() as calls:
                try:
                    await self._read(reader, calls)
                finally:
                    for call in self._calls.values():
                        call.cancel()
        except* (ConnectionOverError, TimeoutError, OSError):
            pass  # what peers do wrong is no news
        except* Exception as errors:
            logger("grpc-health").error("a connection broke", error=repr(errors.exceptions[0]))
        finally:
            await self._close()

    async def _read(self, reader: asyncio.StreamReader, calls: asyncio.TaskGroup) -> None:
        within = _FIRST_CALL_WITHIN
        while True:
            self._flush()
            try:
                async with asyncio.timeout(within):
                    data = await reader.read(_CHUNK)
            except TimeoutError:
                if not self.busy:
                    return
                continue
            if not data:
                return
            for news in self._session.receive(data):
                within = _IDLE
                self._heed(news, calls)
            await asyncio.sleep(0)  # a flood on one connection must not hold the loop

    def _heed(self, news: Asked | Dropped, calls: asyncio.TaskGroup) -> None:
        if isinstance(news, Dropped):
            if news.call in self._calls:
                self._calls.pop(news.call).cancel()
            return
        task = calls.create_task(self._answer(news, self), name="grpc health call")
        self._calls[news.call] = task
        task.add_done_callback(lambda _: self._calls.pop(news.call, None))

    def _flush(self) -> None:
        self._writer.write(self._session.outgoing())
        if self._writer.transport.get_write_buffer_size() > _UNREAD_LIMIT:
            raise ConnectionOverError("it reads nothing")

    async def _close(self) -> None:
        try:
            self._writer.write(self._session.goodbye())
            self._writer.close()
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(_CLOSED_WITHIN):
                    await self._writer.wait_closed()
        finally:
            self._writer.transport.abort()
