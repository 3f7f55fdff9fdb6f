"""One client of grpc.health.v1: bytes -> calls, answered at the same time -> bytes, with limits for all of it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import TaskPool
from osm_probes.judge.grpc_health.messages import Status
from osm_probes.judge.grpc_health.session import Call, CallCancelled, Code, ConnectionOverError, GrpcSession

_UNREAD_LIMIT: Final = 16384
_CHUNK: Final = 16384
_CLOSED_WITHIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection grants its client, in seconds.

    first_call: for the first call. idle: between two calls. life: of the connection; its
    client then connects again.
    """

    first_call: float = 3.0
    idle: float = 60.0
    life: float = 1800.0


AnswerCall = Callable[[Call, "Connection"], Coroutine[Any, Any, None]]
"""Answers one call of a connection by its `report` or `refuse`."""


class Connection:
    """One client's connection. since: when it was made, on the monotonic clock."""

    def __init__(self, answer: AnswerCall, *, limits: Limits) -> None:
        self.since = time.monotonic()
        self._answer = answer
        self._limits = limits
        self._session = GrpcSession()
        self._calls: dict[int, asyncio.Task[None]] = {}

    @property
    def busy(self) -> bool:
        """Whether a call is in flight."""
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
        """Serve until the client leaves, breaks the protocol, or has been idle or connected for too long."""
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=accepted)
        except OSError:
            accepted.close()
            return
        try:
            async with asyncio.timeout(self._limits.life), TaskPool("grpc-health") as calls:
                await self._read(calls)
        except (ConnectionOverError, TimeoutError, OSError):
            pass  # the client's fault, and not worth a log line
        except Exception as error:
            logger("grpc-health").error("a connection failed", error=repr(error))
        finally:
            await self._close()

    async def _read(self, calls: TaskPool) -> None:
        within = self._limits.first_call
        while True:
            self._flush()
            try:
                async with asyncio.timeout(within):
                    data = await self._reader.read(_CHUNK)
            except TimeoutError:
                if not self.busy:
                    return
                continue
            if not data:
                return
            for event in self._session.receive(data):
                within = self._limits.idle
                self._handle(event, calls)
            await asyncio.sleep(0)  # a flood on one connection must not hold the loop

    def _handle(self, event: Call | CallCancelled, calls: TaskPool) -> None:
        if isinstance(event, CallCancelled):
            if event.id in self._calls:
                self._calls.pop(event.id).cancel()
            return
        task = calls.start(self._serve_call(event), name="grpc health call")
        self._calls[event.id] = task
        task.add_done_callback(lambda _: self._calls.pop(event.id, None))

    async def _serve_call(self, call: Call) -> None:
        try:
            await self._answer(call, self)
        except ConnectionOverError:
            self._reader.feed_eof()  # ends the connection, as if the client had closed it

    def _flush(self) -> None:
        self._writer.write(self._session.outgoing())
        if self._writer.transport.get_write_buffer_size() > _UNREAD_LIMIT:
            raise ConnectionOverError("it reads nothing")

    async def _close(self) -> None:
        try:
            self._writer.write(self._session.goaway())
            self._writer.close()
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(_CLOSED_WITHIN):
                    await self._writer.wait_closed()
        finally:
            self._writer.transport.abort()
