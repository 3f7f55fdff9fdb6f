"""Port -> the webhook: TLS or plain by a connection's first byte; a listening socket that is lost is replaced."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from osm_probes.admission.handler import Handler
from osm_probes.admission.tls import server_context
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.recovery import recover
from osm_probes.health.supervise import supervised
from osm_probes.http.server import HttpServer, Limits
from osm_probes.pki.certificate import Certificate

CONNECTIONS: Final = 512
# Longer than the 90 s after which Go's HTTP client, so the API server, drops an idle connection itself: were we first,
# a review could cross our close and be lost.
_IDLE: Final = 120.0

_TLS_HANDSHAKE: Final = b"\x16"

Listen = Callable[[int], socket.socket]
"""Listens on this very port, 0 = on the one that was asked for. Raises OsmError."""


class WebhookServer:
    """Listens from the start, and serves the webhook as long as it is entered.

    A new certificate counts from the next handshake on; connections that are open stay, also if the listening socket is
    lost and replaced. Leaving it finishes requests in flight within `grace` seconds.
    """

    def __init__(
        self,
        listen: Listen,
        *,
        certificate: Certificate,
        handler: Handler,
        lifecycle: Lifecycle,
        grace: float = 5.0,
        connections: int = CONNECTIONS,
    ) -> None:
        self._listen = listen
        self._listener = listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._lifecycle = lifecycle
        self._grace = grace
        self._tls = server_context(certificate)
        self._stack = contextlib.AsyncExitStack()
        self._http = HttpServer(handler, limits=Limits(connections, idle=_IDLE), secure=self._secure)

    def use(self, certificate: Certificate) -> None:
        """Present this certificate from the next handshake on."""
        self._tls = server_context(certificate)

    async def __aenter__(self) -> Self:
        """Serve from now on."""
        stack, lifecycle = self._stack, self._lifecycle
        stack.callback(lifecycle.move, Phase.STOPPED, reason="asked to stop")
        await stack.enter_async_context(self._http)
        stack.push_async_callback(self._http.finish, within=self._grace)
        stack.callback(self._close)
        await stack.enter_async_context(background_tasks(accept=self._accept()))
        lifecycle.move(Phase.SERVING, reason=f"listening on port {self.port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop accepting, finish what is in flight, close all."""
        if self._lifecycle.phase in (Phase.SERVING, Phase.RECOVERING):
            self._lifecycle.move(Phase.DRAINING, reason="asked to stop")
        await self._stack.aclose()

    async def _accept(self) -> None:
        await supervised(self._lifecycle, self._stay())

    async def _stay(self) -> None:
        reason = ""
        while True:
            try:
                await self._http.accept(self._listener)
            except OSError as error:
                reason = f"port {self.port}: {error.strerror or error}"
            self._close()
            if self._lifecycle.phase is not Phase.SERVING:
                return
            await recover(self._lifecycle, self._listen_again, reason=reason)

    async def _listen_again(self) -> None:
        self._listener = self._listen(self.port)

    def _close(self) -> None:
        self._listener.close()

    async def _secure(self, accepted: socket.socket) -> ssl.SSLContext | None:
        return self._tls if await _first_byte(accepted) == _TLS_HANDSHAKE else None


async def _first_byte(accepted: socket.socket) -> bytes:
    """The first byte, left where it is for whoever reads the connection. Raises EOFError at its end."""
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
