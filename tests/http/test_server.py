import asyncio
import contextlib
import math
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import pytest

from osm_probes.foundation.listen import listen
from osm_probes.foundation.tasks import background_tasks
from osm_probes.http.limits import Limits
from osm_probes.http.message import Answer, Handler, RefusedRequestError, Request
from osm_probes.http.server import HttpServer, Secure, plain, uncounted

SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = (
    rb"HTTP/1\.1 200 OK\r\n"
    rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n"
    rb"Content-Length: \d+\r\n"
    rb"Content-Type: text/plain; charset=utf-8\r\n"
)
LIMITS = Limits(256, idle=60)
GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Connection]]


async def echo(request: Request) -> Answer | None:
    """Answers the path; /none gets no response, /broken breaks, /refused is refused."""
    if request.path == "/broken":
        raise RuntimeError("broken")
    if request.path == "/refused":
        raise RefusedRequestError(HTTPStatus.CONFLICT, "not now")
    return None if request.path == "/none" else Answer(HTTPStatus.OK, request.path)


@contextlib.asynccontextmanager
async def serving(
    handler: Handler = echo,
    *,
    limits: Limits = LIMITS,
    malformed: Callable[[], None] = uncounted,
    secure: Secure = plain,
    buffer: int = 1_000_000,
) -> AsyncIterator[Dial]:
    """A way to dial a server of this handler; what was dialled is closed at the end."""
    writers: list[asyncio.StreamWriter] = []

    async def dial() -> Connection:
        client = socket.socket()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            client.setsockopt(socket.SOL_SOCKET, option, buffer)
        client.settimeout(0.0)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=client)
        writers.append(writer)
        return reader, writer

    with listen(0, address="127.0.0.1") as listener:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            listener.setsockopt(socket.SOL_SOCKET, option, buffer)
        port = listener.getsockname()[1]
        async with (
            HttpServer(handler, limits=limits, secure=secure, malformed=malformed) as server,
            background_tasks(accept=server.accept(listener)),
        ):
            try:
                yield dial
            finally:
                for writer in writers:
                    writer.transport.abort()


async def said(dial: Dial, request: bytes) -> bytes:
    """All that the server says to this and nothing else."""
    reader, writer = await dial()
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


async def answer(reader: asyncio.StreamReader, body: bytes = b"/x") -> bytes:
    """One answer with this body; what follows stays unread."""
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n" + body), 5)


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with serving() as dial:
        reader, writer = await dial()
        for _ in range(3):
            writer.write(GET)
            assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\nDate: ")


async def test_a_request_may_come_byte_by_byte_and_two_at_once() -> None:
    async with serving() as dial:
        reader, writer = await dial()
        for byte in GET:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        writer.write(GET + GET)
        for _ in range(3):
            await answer(reader)


async def test_no_response_is_a_connection_closed_without_a_byte() -> None:
    async with serving() as dial:
        assert await said(dial, b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n") == b""


async def test_an_error_in_a_handler_ends_only_its_own_connection() -> None:
    async with serving() as dial:
        reader, writer = await dial()
        assert await said(dial, b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        writer.write(GET)
        await answer(reader)


@pytest.mark.parametrize("close", [b"Connection: close\r\n", b"connection: Close\r\n"])
async def test_the_connection_is_closed_if_the_client_asks_for_it(close: bytes) -> None:
    async with serving() as dial:
        whole = await said(dial, GET[:-2] + close + b"\r\n")
        assert b"\r\nConnection: close\r\n\r\n/x" in whole


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
async def test_any_method_gets_the_same_bytes(method: str) -> None:
    async with serving() as dial:
        whole = await said(dial, GET[:-2].replace(b"GET", method.encode()) + b"Connection: close\r\n\r\n")
        assert re.fullmatch(HEAD + b"Connection: close\r\n\r\n/x", whole)


async def test_head_gets_the_same_without_the_body() -> None:
    async with serving() as dial:
        whole = await said(dial, GET[:-2].replace(b"GET", b"HEAD") + b"Connection: close\r\n\r\n")
        assert re.fullmatch(HEAD + b"Connection: close\r\n\r\n", whole)


async def test_an_http_1_0_client_needs_no_host_header() -> None:
    async with serving() as dial:
        whole = await said(dial, b"GET /x HTTP/1.0\r\n\r\n")
        assert re.fullmatch(HEAD.replace(rb"1\.1", b"1.0") + b"\r\n/x", whole)


async def test_an_http_1_0_client_may_keep_its_connection() -> None:
    async with serving() as dial:
        reader, writer = await dial()
        for _ in range(2):
            writer.write(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"\r\nConnection: keep-alive\r\n" in await answer(reader)


async def test_a_refused_request_gets_the_handlers_status_and_text() -> None:
    async with serving() as dial:
        whole = await said(dial, b"GET /refused HTTP/1.0\r\n\r\n")
        assert whole.startswith(b"HTTP/1.0 409 Conflict\r\n")
        assert whole.endswith(b"\r\n\r\nnot now")


async def test_path_and_query_come_decoded() -> None:
    asked: list[Request] = []

    async def note(request: Request) -> None:
        asked.append(request)

    async with serving(note) as dial:
        await said(dial, b"GET http://host/a%2Fb?verbose&exclude=%61 HTTP/1.1\r\nHost: x\r\nACCEPT: y\r\n\r\n")
    (request,) = asked
    assert (request.path, request.query) == ("/a/b", (("verbose", ""), ("exclude", "a")))
    assert (request.headers["Accept"], request.secure) == ("y", False)


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"noise\r\n\r\n",
        b"GET /" + b"x" * 10_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /x HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET /x HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /x HTTP/1.2\r\nHost: x\r\n\r\n",
        b"GET /x HTTP/3.0\r\nHost: x\r\n\r\n",
        b"GET /x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_malformed_requests_get_400_without_a_server_header_and_no_log_line(
    noise: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    counted: list[None] = []
    async with serving(malformed=lambda: counted.append(None)) as dial:
        whole = await said(dial, noise)
        assert re.fullmatch(
            HEAD.replace(rb"HTTP/1\.1 200 OK", b"HTTP/1.0 400 Bad Request") + b"\r\n400 bad request", whole
        )
    assert len(counted) == 1
    assert caplog.records == []


async def test_an_endless_head_ends_only_its_own_connection() -> None:
    async with serving() as dial:
        assert (await said(dial, b"GET /" + b"x" * 2_000_000))[:12] in (b"", b"HTTP/1.0 400")
        assert (await said(dial, GET[:-2] + b"Connection: close\r\n\r\n")).endswith(b"/x")


async def test_a_tls_client_of_a_plain_port_is_refused_at_once() -> None:
    async with serving() as dial:
        _, writer = await dial()
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            async with asyncio.timeout(1):
                await writer.start_tls(ssl.create_default_context(), server_hostname="x")


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 1\r\n\r\nG",
        b"Content-Length: 100000\r\n\r\n" + b"G" * 100_000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 60_000 + b"0\r\n\r\n",
    ],
)
async def test_an_unread_body_is_skipped_before_the_next_request(body: bytes) -> None:
    async with serving() as dial:
        reader, writer = await dial()
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\n" + body + GET)
        await answer(reader)
        await answer(reader)


async def test_a_late_body_does_not_shorten_the_idle_time_of_its_connection() -> None:
    async with serving(limits=Limits(256, idle=60, head=0.05)) as dial:
        reader, writer = await dial()
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        await answer(reader)
        writer.write(b"GG")
        await asyncio.sleep(0.1)
        writer.write(GET)
        await answer(reader)


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("piece", [b"5\r\nhello\r\n" * 1000, b""])
async def test_a_body_without_an_end_ends_the_connection(framing: bytes, piece: bytes) -> None:
    async with serving(limits=Limits(256, idle=60, linger=0.1)) as dial:
        reader, writer = await dial()
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        await answer(reader)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(1):
                while not reader.at_eof():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)


async def test_a_head_that_does_not_come_ends_the_connection() -> None:
    async with serving(limits=Limits(256, idle=60, head=0.05)) as dial:
        silent, _ = await dial()
        slow, writer = await dial()
        writer.write(GET[:-2])
        for reader in (silent, slow):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await asyncio.wait_for(reader.readexactly(1), 5)


async def test_a_kept_connection_may_pause_longer_than_a_head_may_take() -> None:
    async with serving(limits=Limits(256, idle=60, head=0.05)) as dial:
        reader, writer = await dial()
        writer.write(GET)
        await answer(reader)
        await asyncio.sleep(0.1)
        writer.write(GET)
        await answer(reader)


@pytest.mark.parametrize("size", [60_000, 20_000_000])
async def test_a_client_that_never_reads_is_dropped(size: int) -> None:

    async def much(_: Request) -> Answer:
        return Answer(HTTPStatus.OK, "x" * size)

    async with serving(much, limits=Limits(256, idle=60, sent=0.05), buffer=4096) as dial:
        reader, writer = await dial()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET)
        await asyncio.sleep(0.15)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        try:
            got = len(await asyncio.wait_for(reader.read(), 5))
        except ConnectionResetError:
            got = 0
        assert got < size


async def test_a_client_that_reads_slowly_is_not_dropped_afterwards() -> None:

    async def much(_: Request) -> Answer:
        return Answer(HTTPStatus.OK, "x" * 10_000 + "/x")

    async with serving(much, limits=Limits(256, idle=60, sent=0.2), buffer=4096) as dial:
        reader, writer = await dial()
        for _ in range(2):
            writer.write(GET)
            await answer(reader, b"x" * 10_000 + b"/x")
            await asyncio.sleep(0.25)


async def test_a_connection_that_is_idle_for_too_long_is_closed() -> None:
    async with serving(limits=Limits(9, idle=0.05)) as dial:
        reader, writer = await dial()
        writer.write(GET)
        await answer(reader)
        await dropped(reader)


async def test_a_malformed_body_ends_its_connection_without_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(limits=Limits(256, idle=60, linger=0.05)) as dial:
        reader, writer = await dial()
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await answer(reader)
        writer.write(b"none\r\n")
        assert (await asyncio.wait_for(reader.read(), 1))[:12] in (b"", b"HTTP/1.0 400")
    assert caplog.records == []


async def test_the_oldest_idle_connection_makes_room() -> None:
    async with serving() as dial:
        connections = [await dial() for _ in range(LIMITS.connections)]
        busy_reader, busy = connections[0]
        busy.write(GET)  # no longer the one that has been idle longest
        await answer(busy_reader)
        reader, writer = await dial()
        writer.write(GET)
        await answer(reader)
        await dropped(connections[1][0])
        busy.write(GET)
        await answer(busy_reader)


async def test_idle_connections_are_dropped_in_the_order_in_which_they_became_idle() -> None:
    async with serving(limits=Limits(2, idle=60)) as dial:
        served, writer = await dial()
        writer.write(GET)
        await answer(served)
        older, _ = await dial()
        writer.write(GET)
        await answer(served)
        await dial()
        await dropped(older)
        await dial()
        await dropped(served)


async def dropped(reader: asyncio.StreamReader) -> None:
    """At once, and not because a limit of time is over."""
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), 1)


async def test_a_busy_connection_is_dropped_only_after_its_limit() -> None:
    asked, go = asyncio.Semaphore(0), asyncio.Event()

    async def slow(request: Request) -> Answer:
        asked.release()
        if request.path == "/slow":
            await go.wait()
        return Answer(HTTPStatus.OK, request.path)

    for busy, first in ((0.0, b""), (math.inf, b"/slow")):
        go.clear()
        async with serving(slow, limits=Limits(2, idle=60, busy=busy)) as dial:
            crowd = [asyncio.ensure_future(said(dial, SLOW)) for _ in range(2)]
            for _ in crowd:
                await asked.acquire()
            asyncio.get_running_loop().call_later(0.1, go.set)
            assert (await said(dial, GET[:-2] + b"Connection: close\r\n\r\n")).endswith(b"\r\n\r\n/x")
            assert [whole.partition(b"\r\n\r\n")[2] for whole in await asyncio.gather(*crowd)] == [first, b"/slow"]


async def test_a_waiting_connection_is_closed_when_the_server_stops() -> None:
    asked = asyncio.Event()

    async def hung(_: Request) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with serving(hung, limits=Limits(1, idle=60)) as dial:
        _, writer = await dial()
        writer.write(GET)
        await asked.wait()
        waiting, _ = await dial()
        await asyncio.sleep(0.01)
    await dropped(waiting)


async def test_an_error_in_one_connection_does_not_end_another() -> None:
    broken = [True]

    async def secure(_: object) -> None:
        while broken and broken.pop():
            raise RuntimeError("broken")

    async with serving(secure=secure) as dial:
        assert await said(dial, GET) == b""
        reader, writer = await dial()
        writer.write(GET)
        await answer(reader)


async def test_short_connections_leave_no_tasks_behind() -> None:
    async with serving() as dial:
        for _ in range(300):
            _, writer = await dial()
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        reader, writer = await dial()
        writer.write(GET)
        await answer(reader)


async def read_body(request: Request) -> Answer:
    """Answers the body's size."""
    return Answer(HTTPStatus.OK, str(len(await request.body(limit=4_000_000, within=5))))


def posted(size: int, *, sent: int) -> bytes:
    """A request that announces a body of this size, and its first bytes."""
    return f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode() + b" " * sent


def keeping(request: bytes) -> bytes:
    """The same request, which does not ask for the end of its connection."""
    return request.replace(b"Connection: close\r\n", b"")


async def test_incomplete_bodies_beyond_the_budget_are_dropped_and_complete_ones_are_answered() -> None:
    size = 3_000_000
    async with serving(read_body, limits=Limits(64, idle=60, bodies=10_000_000)) as dial:
        slow = [await dial() for _ in range(12)]
        for _, writer in slow:
            writer.write(posted(size, sent=size - 1))
            await writer.drain()
            await asyncio.sleep(0.02)
        for _ in range(10):
            assert (await said(dial, posted(20_000, sent=20_000))).endswith(b"\r\n\r\n20000")
        for reader, _ in slow[:9]:
            await dropped(reader)
        reader, writer = slow[-1]
        writer.write(b" ")
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"\r\n\r\n3000000")


async def test_a_dropped_body_ends_its_handler_too() -> None:
    ended = asyncio.Event()

    async def hold(request: Request) -> None:
        await request.body(limit=4_000_000, within=5)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(hold, limits=Limits(64, idle=60, bodies=1_500_000)) as dial:
        for _ in range(2):
            _, writer = await dial()
            writer.write(posted(1_000_000, sent=500_000))
            await asyncio.sleep(0.2)
            writer.write(b" " * 500_000)
        async with asyncio.timeout(5):
            await ended.wait()


async def test_a_connection_whose_body_is_still_arriving_makes_room() -> None:
    async with serving(read_body, limits=Limits(4, idle=60)) as dial:
        slow = [await dial() for _ in range(4)]
        for _, writer in slow:
            writer.write(posted(100, sent=1))
        await asyncio.sleep(0.05)
        assert (await said(dial, posted(5, sent=5))).endswith(b"\r\n\r\n5")
        await dropped(slow[0][0])


@pytest.mark.parametrize("chunk", [b"5\r\nhello\r\n", b"1\r\nx\r\n"])
async def test_an_unread_body_and_requests_ahead_stay_in_the_kernel(chunk: bytes) -> None:
    asked = asyncio.Event()

    async def hung(_: Request) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with serving(hung, buffer=20_000) as dial:
        _, writer = await dial()
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asked.wait()
        assert await accepted(writer, chunk * 1000) < 250_000
        _, writer = await dial()
        writer.write(GET)
        assert await accepted(writer, keeping(posted(10_000, sent=10_000)) * 4) < 250_000


async def accepted(writer: asyncio.StreamWriter, piece: bytes) -> int:
    """How many bytes the other side takes until it takes no more for 0.5 s."""
    taken = 0
    while taken < 2_000_000:
        writer.write(piece)
        try:
            await asyncio.wait_for(writer.drain(), 0.5)
        except TimeoutError:
            break
        taken += len(piece)
    return taken


async def test_a_head_larger_than_16_kib_ends_its_connection_without_a_response() -> None:
    counted: list[None] = []
    async with serving(malformed=lambda: counted.append(None)) as dial:
        reader, writer = await dial()
        writer.write(GET[:-2])
        for _ in range(30):
            writer.write(b"X-Field: " + b"x" * 2000 + b"\r\n")
            await asyncio.sleep(0.001)
        await dropped(reader)
    assert len(counted) == 1


async def test_a_head_and_a_large_body_in_one_packet_are_not_mistaken_for_a_large_head() -> None:
    async with serving(read_body) as dial:
        reader, writer = await dial()
        for _ in range(3):
            writer.write(keeping(posted(200_000, sent=200_000)))
            await answer(reader, b"200000")
