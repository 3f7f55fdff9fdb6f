"""The webhook's server: TLS or plain HTTP, by the first byte of a connection. A lost listening socket is replaced."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from osm_probes.admission.handler import WebhookHandler
from osm_probes.foundation.listen import SocketLostError
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.recovery import recover
from osm_probes.health.supervise import supervised_tasks
from osm_probes.http.limits import Limits
from osm_probes.http.server import HttpServer

# An idle connection is kept longer than the 90 s of the API server's (Go's) HTTP client. If the server closed it first,
# a review could be sent at the same moment and be lost.
LIMITS: Final = Limits(connections=512, idle=120.0)

_TLS_HANDSHAKE: Final = b"\x16"

Listen = Callable[[int], socket.socket]
"""Opens the listening socket on this port; 0 = on the configured one. Raises OsmError."""


class WebhookServer:
    """Listens from its creation, and serves the webhook while it is entered.

    A new TLS context is used from the next handshake on. Open connections stay open, also if the listening socket
    is lost and replaced. On exit, in-flight requests get `grace` seconds to finish.
    """

    def __init__(
        self,
        listen: Listen,
        *,
        tls: ssl.SSLContext,
        handler: WebhookHandler,
        lifecycle: Lifecycle,
        grace: float = 5.0,
        limits: Limits = LIMITS,
    ) -> None:
        self._listen = listen
        self._listening_socket = listen(0)
        self.port: int = self._listening_socket.getsockname()[1]
        self._lifecycle = lifecycle
        self._grace = grace
        self._tls = tls
        self._stack = contextlib.AsyncExitStack()
        self._http = HttpServer(handler, limits=limits, secure=self._secure)

    def update_tls(self, tls: ssl.SSLContext) -> None:
        """Use this context from the next TLS handshake on."""
        self._tls = tls

    def close_connections(self) -> None:
        """Close each connection after the response to its request in flight, so that its client is verified again."""
        self._http.close_connections()

    async def __aenter__(self) -> Self:
        """Start to accept connections."""
        stack, lifecycle = self._stack, self._lifecycle
        stack.callback(lifecycle.move, Phase.STOPPED, reason="asked to stop")
        await stack.enter_async_context(self._http)
        stack.push_async_callback(self._http.finish, within=self._grace)
        stack.callback(self._close)
        await stack.enter_async_context(supervised_tasks(lifecycle, accept=self._accept_and_recover()))
        lifecycle.move(Phase.SERVING, reason=f"listening on port {self.port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop accepting connections, finish in-flight requests, then close all connections."""
        if self._lifecycle.phase in (Phase.SERVING, Phase.RECOVERING):
            self._lifecycle.move(Phase.DRAINING, reason="asked to stop")
        await self._stack.aclose()

    async def _accept_and_recover(self) -> None:
        reason = ""
        while True:
            try:
                await self._http.accept(self._listening_socket)
            except SocketLostError as error:
                reason = f"port {self.port}: {error}"
            self._close()
            if self._lifecycle.phase is not Phase.SERVING:
                return
            await recover(self._lifecycle, self._listen_again, reason=reason)

    async def _listen_again(self) -> None:
        self._listening_socket = self._listen(self.port)

    def _close(self) -> None:
        self._listening_socket.close()

    async def _secure(self, accepted: socket.socket) -> ssl.SSLContext | None:
        return self._tls if await _first_byte(accepted) == _TLS_HANDSHAKE else None


async def _first_byte(accepted: socket.socket) -> bytes:
    """The first byte, which stays in the socket's buffer. Raises EOFError if the connection is closed before it."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(accepted, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(accepted)
    if not (first := accepted.recv(1, socket.MSG_PEEK)):
        raise EOFError
    return first
