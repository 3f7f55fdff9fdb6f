"""Listening socket -> connections, a bounded number of them: no client can hold up the others."""

import asyncio
import contextlib
import errno
import math
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from osm_probes.foundation.logs import logger
from osm_probes.http.connection import HEAD_WITHIN, Connection
from osm_probes.http.exchange import exchange, respond
from osm_probes.http.message import Handler

_TLS_CLOSE_WITHIN: Final = 1.0
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE: Final = 0.1

Secure = Callable[[socket.socket], Awaitable[ssl.SSLContext | None]]
"""The TLS to speak on an accepted connection, None = plain; it may raise OSError, EOFError."""


async def plain(_: socket.socket) -> None:
    """No TLS."""


def nothing() -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """connections: at most so many; the one idle longest makes room for a new one. Seconds: idle, between two requests;
    busy, after which a request under way makes room as well, where nobody is idle.
    """

    connections: int
    idle: float
    busy: float = math.inf


class HttpServer:
    """Answers requests while it is entered; at its end all connections are dropped.

    `malformed` is called for each request that never reaches the handler.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits,
        secure: Secure = plain,
        malformed: Callable[[], None] = nothing,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._secure = secure
        self._new_connection = partial(Connection, idle=limits.idle, malformed=malformed)
        self._tasks = asyncio.TaskGroup()
        self._open: dict[asyncio.Task[None], Connection] = {}

    async def __aenter__(self) -> Self:
        """Be ready to accept."""
        self._server = web.Server(partial(respond, handler=self._handler), request_factory=exchange)
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop what is open."""
        for task in self._open:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def accept(self, listener: socket.socket) -> None:
        """Accept until cancelled. Raises OSError where the listener is lost."""
        loop = asyncio.get_running_loop()
        listener.settimeout(0.0)
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # gone before it was accepted
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                await self._make_room()
                continue
            await self._admit(accepted)
            # An accept that need not wait does not yield either: a flood of connections must not hold the loop.
            await asyncio.sleep(0)

    async def finish(self, *, within: float) -> None:
        """Close what is idle; finish what is in flight within so many seconds."""
        self._server.pre_shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._server.shutdown(within)

    async def _admit(self, accepted: socket.socket) -> None:
        try:
            while len(self._open) >= self._limits.connections:
                await self._make_room()
        except asyncio.CancelledError:
            accepted.close()
            raise
        connection = self._new_connection(self._server)
        task = self._tasks.create_task(self._serve(accepted, connection), name="http connection")
        self._open[task] = connection
        task.add_done_callback(lambda done: self._open.pop(done, None))

    async def _make_room(self) -> None:
        late = time.monotonic() - self._limits.busy
        spare = [each for each in self._open.items() if not each[1].busy or each[1].since < late]
        if not spare:
            await asyncio.sleep(_PAUSE)
            return
        oldest, _ = min(spare, key=lambda each: (each[1].busy, each[1].since))
        oldest.cancel()
        await asyncio.wait([oldest], timeout=_PAUSE)

    async def _serve(self, accepted: socket.socket, connection: Connection) -> None:
        with accepted:
            try:
                async with asyncio.timeout(HEAD_WITHIN):
                    tls = await self._secure(accepted)
                await _carry(accepted, connection, tls=tls)
            except (OSError, EOFError, TimeoutError):
                return  # what peers do wrong is no news
            except Exception as error:
                logger("http").error("a connection broke", error=f"{type(error).__name__}: {error}")


async def _carry(accepted: socket.socket, connection: Connection, *, tls: ssl.SSLContext | None) -> None:
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: connection,
        accepted,
        ssl=tls,
        ssl_handshake_timeout=HEAD_WITHIN if tls else None,
        ssl_shutdown_timeout=_TLS_CLOSE_WITHIN if tls else None,
    )
    try:
        await connection.closed
    except asyncio.CancelledError:
        # Only then: to abort a TLS transport that is closed raises AttributeError in Python 3.11.2, Debian 12's.
        transport.abort()
        raise
