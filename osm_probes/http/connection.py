"""Bytes of a connection -> aiohttp's requests: bounds how long its peer may take over what it owes."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiohttp import StreamReader, web

HEAD_WITHIN: Final = 3.0
_SENT_WITHIN: Final = 3.0
# How long a peer may go on with a body that nobody reads, so that it reads the answer instead of a reset.
_LINGER: Final = 3.0


class Connection(web.RequestHandler):
    """One connection. `busy` while a request is being answered; `since` when that last changed; `closed` at its end.

    `idle` is how long it may rest between two requests. `malformed` is called for each request that is none.
    """

    def __init__(self, server: web.Server, *, idle: float, malformed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=idle,
            lingering_time=_LINGER,
            auto_decompress=False,
        )
        self.busy = False
        self.since = time.monotonic()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._malformed = malformed
        self._body: StreamReader | None = None
        self._wire: asyncio.Transport
        self._deadline: asyncio.TimerHandle | None = None

    def begin(self, body: StreamReader) -> None:
        """A request's head is complete."""
        self.busy, self.since = True, time.monotonic()
        self._body = body
        self._disarm()

    def end(self) -> None:
        """Its answer is known."""
        self.busy, self.since = False, time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 # it carries a stream
        self._wire = transport
        transport.set_write_buffer_limits(high=1)  # what is not sent yet is waited for
        self._arm(HEAD_WITHIN)

    def data_received(self, data: bytes) -> None:
        # What comes between two requests is a head; aiohttp's own calls have no data.
        if data and not self.busy and (self._body is None or self._body.is_eof()):
            self._arm(HEAD_WITHIN)
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm(_SENT_WITHIN)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 400,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what the parser refuses; handlers do not fail."""
        self._malformed()
        return web.Response(status=400, text="400 bad request")

    def _arm(self, within: float) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(within, self._wire.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
