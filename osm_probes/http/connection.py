"""One client's connection: aiohttp's parser -> handler -> response, with time limits and the contract's headers.

Private hooks of aiohttp are used here (`_prepare_hook`); pyproject.toml therefore has an upper bound for it.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Self

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.http.message import Answer, Handler, RefusedRequestError, Request

_HEADERS: Final = (hdrs.DATE, hdrs.CONTENT_LENGTH, hdrs.CONTENT_TYPE)


class Connection(web.RequestHandler):
    """One connection: `closed` is done at its end.

    Limits in seconds: idle, between two requests; head, for the head of a request; linger, for an unread body;
    sent, until the client has read what was sent. `malformed` is called for each request that the parser refuses.
    """

    def __init__(
        self, server: web.Server, *, idle: float, head: float, linger: float, sent: float, malformed: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, keepalive_timeout=idle, lingering_time=linger, auto_decompress=False)
        self.busy = False
        self.since = time.monotonic()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._head = head
        self._sent = sent
        self._malformed = malformed
        self._body: StreamReader | None = None
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle | None = None

    def begin(self, body: StreamReader) -> None:
        """The head of a request is complete: it is in flight."""
        self.busy, self.since = True, time.monotonic()
        self._body = body
        self._disarm()

    def end(self) -> None:
        """The response to the request in flight is known."""
        self.busy, self.since = False, time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 # it carries a stream
        self._transport = transport
        transport.set_write_buffer_limits(high=1)  # wait for whatever is not sent yet
        self._arm(self._head)

    def data_received(self, data: bytes) -> None:
        # Data between two requests is a head; aiohttp also calls this without data.
        if data and not self.busy and (self._body is None or self._body.is_eof()):
            self._arm(self._head)
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm(self._sent)

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
        """The response to a request that the parser refuses. Errors of handlers are handled elsewhere."""
        self._malformed()
        return web.Response(status=400, text="400 bad request")

    def _arm(self, within: float) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(within, self._transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class ContractRequest(web.BaseRequest):
    """A request whose response has the contract's headers in the contract's order, the parser's 400 included."""

    @classmethod
    def make(
        cls,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> Self:
        """The factory that aiohttp calls for each request."""
        return cls(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        headers = response.headers
        headers.pop(hdrs.SERVER, None)
        first = [(name, headers.pop(name)) for name in _HEADERS if name in headers]
        rest = list(headers.items())
        headers.clear()
        headers.extend([*first, *rest])

    async def body(self, *, limit: int, within: float) -> bytes:
        """The body, as `message.Body` says."""
        if (self.content_length or 0) > limit:
            raise _too_large(limit)
        # curl waits for this before it sends a large body.
        if self.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            async with asyncio.timeout(within):
                while chunk := await self.content.readany():
                    body += chunk
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError:
            text = f"the body did not arrive within {within:g} s"
            raise RefusedRequestError(HTTPStatus.REQUEST_TIMEOUT, text) from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, f"the body cannot be read: {error}") from error
        return bytes(body)


def _too_large(limit: int) -> RefusedRequestError:
    return RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit} bytes")


async def respond(request: web.BaseRequest, handler: Handler, failures: RateLimitedLog) -> web.StreamResponse:
    """The handler's response. If it has none, the connection is closed before a byte is sent."""
    connection = request.protocol
    assert isinstance(request, ContractRequest)  # noqa: S101 # the server makes
    assert isinstance(connection, Connection)  # noqa: S101 # no others
    connection.begin(request.content)
    try:
        response = await _response(request, handler, failures)
    finally:
        connection.end()
    if response is None:
        connection.force_close()
        return web.Response()
    return response


async def _response(raw: ContractRequest, handler: Handler, failures: RateLimitedLog) -> web.Response | None:
    request = Request(
        path=raw.path,
        method=raw.method,
        query=tuple(raw.query.items()),
        headers=raw.headers,
        secure=raw.protocol.ssl_context is not None,
        body=raw.body,
    )
    try:
        try:
            answer = await handler(request)
        except RefusedRequestError as refused:
            answer = Answer(refused.status, str(refused))
    except Exception as error:
        failures.error("a request handler failed", error=f"{type(error).__name__}: {error}")
        return None
    if answer is None:
        return None
    headers = {hdrs.CONTENT_TYPE: answer.content_type}
    return web.Response(status=answer.status, body=answer.body.encode(), headers=headers)
