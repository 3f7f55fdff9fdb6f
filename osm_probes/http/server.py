"""Listening socket -> requests -> responses, over HTTP or HTTPS."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from osm_probes.foundation.accept import Acceptor
from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.http.body_budget import BodyBudget
from osm_probes.http.connection import Connection, ContractRequest, respond
from osm_probes.http.limits import Limits
from osm_probes.http.message import Handler
from osm_probes.http.tls import connect_tls

_TLS_CLOSE_WITHIN: Final = 1.0

Secure = Callable[[socket.socket], Awaitable[ssl.SSLContext | None]]
"""Chooses the TLS of an accepted connection, None for plain HTTP. It may raise OSError or EOFError."""


async def plain(_: socket.socket) -> None:
    """Plain HTTP."""


def uncounted() -> None:
    """Malformed requests are not counted."""


class HttpServer:
    """Answers requests while it is entered; at its end all connections are dropped.

    `malformed` is called for each request that the parser refuses.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits,
        secure: Secure = plain,
        malformed: Callable[[], None] = uncounted,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._secure = secure
        self._malformed = malformed
        self._budget = BodyBudget(limits.bodies)
        self._log = RateLimitedLog("http")
        self._acceptor = Acceptor(
            "http", new=self._connection, serve=self._serve, limit=limits.connections, busy=limits.busy
        )

    async def __aenter__(self) -> Self:
        """Be ready to accept."""
        self._server = web.Server(
            partial(respond, handler=self._handler, failures=self._log), request_factory=ContractRequest.make
        )
        await self._acceptor.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop all connections."""
        await self._acceptor.__aexit__(kind, error, traceback)

    async def accept(self, listener: socket.socket) -> None:
        """Accept until cancelled. Raises SocketLostError."""
        await self._acceptor.accept(listener)

    def close_connections(self) -> None:
        """Close each connection, after the response to its request in flight, so that its client connects again."""
        self._acceptor.drop(lambda connection: not connection.close_after_response())

    async def finish(self, *, within: float) -> None:
        """Close idle connections, and give requests in flight so many seconds."""
        self._server.pre_shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._server.shutdown(within)

    def _connection(self) -> Connection:
        return Connection(self._server, limits=self._limits, budget=self._budget, malformed=self._malformed)

    async def _serve(self, accepted: socket.socket, connection: Connection) -> None:
        with accepted:
            try:
                async with asyncio.timeout(self._limits.head):
                    tls = await self._secure(accepted)
                await self._serve_http(accepted, connection, tls=tls)
            except (OSError, EOFError, TimeoutError):
                return  # the client's fault, and not worth a log line
            except Exception as error:
                self._log.error("a connection failed", error=f"{type(error).__name__}: {error}")

    async def _serve_http(self, accepted: socket.socket, connection: Connection, *, tls: ssl.SSLContext | None) -> None:
        if tls is None:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        else:
            transport = await connect_tls(
                accepted, connection, context=tls, handshake=self._limits.head, close=_TLS_CLOSE_WITHIN
            )
        try:
            await connection.closed
        except asyncio.CancelledError:
            transport.abort()
            raise
