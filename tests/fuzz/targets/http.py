"""Bytes to the HTTP server over a real socket: answers of the contract, and the next client is served."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus

from hypothesis import strategies as st

from osm_probes.foundation.listen import listen
from osm_probes.foundation.tasks import background_tasks
from osm_probes.http.limits import Limits
from osm_probes.http.message import Answer, Request
from osm_probes.http.server import HttpServer
from tests.fuzz.mutations import near_bytes
from tests.fuzz.target import Check, FuzzTarget

_GET = b"GET /health/alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_VALID = [
    _GET,
    b"GET /health/ready?verbose&exclude=mesh HTTP/1.0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" + _GET,
    b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + _GET,
    b"PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
]
_STATUSES = (b"HTTP/1.1 100 ", b"HTTP/1.1 200 ", b"HTTP/1.0 200 ", b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/1.1 408 ")
_TOKENS = [
    *(b"GET ", b"/", b"?", b"%", b"%ff", b" HTTP/1.1", b" HTTP/9.9", b"\r\n", b"\r", b"\n", b" ", b"\t", b"\0", b":")
]
_TOKENS += [
    b"Host: x",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked",
    b"Connection: ",
    b"close",
    b"-1",
    b"9" * 30,
    b"\xff",
]
_tokens = st.lists(st.sampled_from(_TOKENS), max_size=25).map(b"".join)


async def _answer(request: Request) -> Answer:
    body = await request.body(limit=1000, within=10)
    return Answer(HTTPStatus.OK, f"{request.method} {len(request.path)} {len(body)}")


@contextlib.contextmanager
def _server() -> Iterator[int]:
    """The port of a server that runs in a thread."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve(listener: socket.socket) -> None:
        limits = Limits(256, idle=10, head=10, linger=1, sent=10)
        async with HttpServer(_answer, limits=limits) as server, background_tasks(accept=server.accept(listener)):
            await stop.wait()

    with listen(0, address="127.0.0.1") as listener:
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(listener),))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


@contextlib.contextmanager
def _opened() -> Iterator[Check]:
    with _server() as port:

        def check(content: bytes) -> None:
            # Anything may be answered or dropped, but only with a status that is meant, and in time.
            for answer in re.findall(rb"^HTTP/[0-9.]+ [0-9]+ ", _exchange(port, content), re.MULTILINE):
                assert answer in _STATUSES, answer
            assert _exchange(port, _GET).startswith(b"HTTP/1.1 200 OK\r\n"), "the next client is served"

        yield check


def _exchange(port: int, content: bytes) -> bytes:
    """Send the bytes and the end; all that comes back."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client, contextlib.suppress(ConnectionError):
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        while chunk := client.recv(65536):
            received += chunk
    return received


TARGETS = (FuzzTarget("http", st.binary(max_size=100) | _tokens | near_bytes(_VALID), _opened),)
