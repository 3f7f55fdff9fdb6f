"""One client's connection: aiohttp's parser -> handler -> response, with time limits and the contract's headers.

Private hooks of aiohttp are used here (`_prepare_hook`); pyproject.toml therefore has an upper bound for it.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Self

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.http.body_budget import BodyBudget
from osm_probes.http.limits import Limits
from osm_probes.http.message import Answer, Handler, RefusedRequestError, Request
from osm_probes.http.tls import CHUNK

_HEADERS: Final = (hdrs.DATE, hdrs.CONTENT_LENGTH, hdrs.CONTENT_TYPE)
_HEAD_LIMIT: Final = 16 * 1024
# aiohttp pauses a connection when twice as many bytes of a body are unread.
_UNREAD_LIMIT: Final = 8 * 1024


class Connection(web.RequestHandler):
    """One connection: `closed` is done at its end.

    `malformed` is called for each request that the parser refuses.
    """

    def __init__(
        self, server: web.Server, *, limits: Limits, budget: BodyBudget, malformed: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle,
            lingering_time=limits.linger,
            read_bufsize=_UNREAD_LIMIT,
            auto_decompress=False,
        )
        # aiohttp parses 32 requests ahead, each with an unread body. One is enough.
        self._max_msg_queue_size, self._msg_queue_resume_size = 1, 0
        self.since = time.monotonic()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._budget = budget
        self._head = limits.head
        self._sent = limits.sent
        self._malformed = malformed
        self._in_flight = self._receives_body = False
        self._begun = self._head_size = 0
        self._body: StreamReader | None = None
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether this program works on a request. It does not while it waits for the body."""
        return self._in_flight and not self._receives_body

    def begin(self, body: StreamReader) -> None:
        """The head of a request is complete: it is in flight."""
        self._in_flight, self.since = True, time.monotonic()
        self._begun += 1
        self._body = body
        self._disarm()

    def end(self) -> None:
        """The response to the request in flight is known."""
        self._in_flight = self._receives_body = False
        self.since = time.monotonic()
        self._budget.end(self)

    def close_after_response(self) -> bool:
        """Close the connection after the response to the request in flight. False if there is no such request."""
        if self._in_flight:
            self.close()
        return self._in_flight

    async def receive(self, body: StreamReader, *, limit: int) -> bytes:
        """The whole body, charged to the budget until the request ends. Raises RefusedRequestError."""
        received = bytearray()
        self._receives_body = True
        self._budget.begin(self)
        while chunk := await body.readany():
            self._budget.add(self, len(chunk))
            received += chunk
            if len(received) > limit:
                raise _too_large(limit)
        self._receives_body = False
        self._budget.complete(self)
        return bytes(received)

    def drop(self) -> None:
        """End the request in flight, which frees its body, and the connection."""
        if self._task_handler is not None:
            self._task_handler.cancel()
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 # it carries a stream
        self._transport = transport
        transport.set_write_buffer_limits(high=1)  # wait for whatever is not sent yet
        # Of a plain connection, as of a TLS one. This attribute of asyncio's transport is not documented.
        transport.max_size = CHUNK  # type: ignore[attr-defined]
        self._arm(self._head)

    def data_received(self, data: bytes) -> None:
        # aiohttp also calls this without data.
        if data and self._expects_head():
            self._arm(self._head)
            self._head_size += len(data)
        super().data_received(data)
        if not self._expects_head():
            self._head_size = 0
        elif self._head_size > _HEAD_LIMIT:
            self._malformed()
            self._transport.abort()

    def _expects_head(self) -> bool:
        """Whether data would be the head of a request: no other one is parsed, in flight, or has an incomplete body."""
        between = self._begun == self._request_count and not self._in_flight
        return between and (self._body is None or self._body.is_eof())

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
        request = cls(message, payload, protocol, writer, task, asyncio.get_running_loop())
        if not request.supported:
            request._version = HttpVersion10  # of the response
        return request

    @property
    def supported(self) -> bool:
        """Whether it is HTTP/1.0 or 1.1. The parser also accepts 0.9 and 2.0."""
        return self._message.version in (HttpVersion10, HttpVersion11)

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
        assert isinstance(self.protocol, Connection)  # noqa: S101 # the server makes no others
        try:
            async with asyncio.timeout(within):
                return await self.protocol.receive(self.content, limit=limit)
        except TimeoutError:
            text = f"the body did not arrive within {within:g} s"
            raise RefusedRequestError(HTTPStatus.REQUEST_TIMEOUT, text) from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, f"the body cannot be read: {error}") from error


def _too_large(limit: int) -> RefusedRequestError:
    return RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit} bytes")


async def respond(request: web.BaseRequest, handler: Handler, failures: RateLimitedLog) -> web.StreamResponse:
    """The handler's response. If it has none, the connection is closed before a byte is sent."""
    connection = request.protocol
    assert isinstance(request, ContractRequest)  # noqa: S101 # the server makes
    assert isinstance(connection, Connection)  # noqa: S101 # no others
    connection.begin(request.content)
    try:
        if not request.supported:
            connection.close()
            return connection.handle_error(request)
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
        verified=bool(raw.transport and raw.transport.get_extra_info("peercert")),
        client=str((raw.protocol.peername or ("",))[0]).removeprefix("::ffff:"),  # IPv4 on an IPv6 socket
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
