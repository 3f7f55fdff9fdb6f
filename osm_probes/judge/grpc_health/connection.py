"""One client of grpc.health.v1: bytes -> calls, answered at the same time -> bytes, with limits for all of it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.foundation.tasks import TaskPool
from osm_probes.judge.grpc_health.messages import Status
from osm_probes.judge.grpc_health.session import Call, CallCancelled, Code, ConnectionOverError, GrpcSession

_UNREAD_LIMIT: Final = 16384
_CHUNK: Final = 2048  # as many empty frames as h2 parses in a few milliseconds
_CLOSED_WITHIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection grants its client, in seconds.

    first_call: for the first call. idle: between two calls. life: of the connection; its
    client then connects again. burst, rate: how many bytes it may send, and how many more each second.
    """

    first_call: float = 3.0
    idle: float = 60.0
    life: float = 1800.0
    burst: int = 65536
    rate: int = 4096


AnswerCall = Callable[[Call, "Connection"], Coroutine[Any, Any, None]]
"""Answers one call of a connection by its `report` or `refuse`."""


class SharedTime:
    """What all connections of a port share, so that one that floods does not hold the event loop.

    They process what they received one at a time, in the order of their arrival, for half of the time at most.
    """

    def __init__(self) -> None:
        self.failures = RateLimitedLog("grpc-health")
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn of a connection, and leave as much time to others as the block takes."""
        async with self._lock:
            started = time.monotonic()
            yield
            await asyncio.sleep(time.monotonic() - started)


class Connection:
    """One client's connection. since: when it was made, on the monotonic clock."""

    def __init__(self, answer: AnswerCall, *, limits: Limits, shared: SharedTime) -> None:
        self.since = time.monotonic()
        self._answer = answer
        self._limits = limits
        self._shared = shared
        self._received = 0
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
            self._shared.failures.error("a connection failed", error=repr(error))
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
            self._count(data)
            async with self._shared.turn():
                for event in self._session.receive(data):
                    within = self._limits.idle
                    self._handle(event, calls)

    def _count(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._limits.burst + self._limits.rate * (time.monotonic() - self.since):
            raise ConnectionOverError("it floods")

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
