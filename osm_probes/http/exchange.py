"""aiohttp's request -> handler -> aiohttp's response, with the headers of the contract."""

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from osm_probes.foundation.logs import logger
from osm_probes.http.connection import Connection
from osm_probes.http.message import Answer, Handler, RefusedRequestError, Request

_HEADERS: Final = (hdrs.DATE, hdrs.CONTENT_LENGTH, hdrs.CONTENT_TYPE)


class Exchange(web.BaseRequest):
    """A request whose answer has the headers of the contract, in its order; error answers of the parser too."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        headers = response.headers
        headers.pop(hdrs.SERVER, None)
        first = [(name, headers.pop(name)) for name in _HEADERS if name in headers]
        rest = list(headers.items())
        headers.clear()
        headers.extend([*first, *rest])

    async def body(self, *, limit: int, within: float) -> bytes:
        """As message.Body has it."""
        if (self.content_length or 0) > limit:
            raise _oversized(limit)
        # Curl waits for this before it sends a large body.
        if self.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            async with asyncio.timeout(within):
                while chunk := await self.content.readany():
                    body += chunk
                    if len(body) > limit:
                        raise _oversized(limit)
        except TimeoutError:
            words = f"the body was not there within {within:g} s"
            raise RefusedRequestError(HTTPStatus.REQUEST_TIMEOUT, words) from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, f"the body cannot be read: {error}") from error
        return bytes(body)


def _oversized(limit: int) -> RefusedRequestError:
    return RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit} bytes")


def exchange(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> Exchange:
    """What aiohttp makes of each request, also of those that its parser refuses."""
    return Exchange(message, payload, protocol, writer, task, asyncio.get_running_loop())


async def respond(asked: web.BaseRequest, handler: Handler) -> web.StreamResponse:
    """The response of the handler; where it has no answer, the connection is closed before a byte is sent."""
    connection = asked.protocol
    assert isinstance(asked, Exchange)  # noqa: S101 # the server makes
    assert isinstance(connection, Connection)  # noqa: S101 # no others
    connection.begin(asked.content)
    try:
        response = await _response(asked, handler)
    finally:
        connection.end()
    if response is None:
        connection.force_close()
        return web.Response()
    return response


async def _response(asked: Exchange, handler: Handler) -> web.Response | None:
    request = Request(
        path=asked.path,
        method=asked.method,
        query=tuple(asked.query.items()),
        headers=asked.headers,
        secure=asked.protocol.ssl_context is not None,
        body=asked.body,
    )
    try:
        try:
            answer = await handler(request)
        except RefusedRequestError as refused:
            answer = Answer(refused.status, str(refused))
        return None if answer is None else _plain(answer)
    except Exception as error:
        logger("http").error("an answer broke", error=f"{type(error).__name__}: {error}")
        return None


def _plain(answer: Answer) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: answer.content_type}
    return web.Response(status=answer.status, body=answer.body.encode(), headers=headers)
