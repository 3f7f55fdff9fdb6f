import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from osm_probes.canary.dial import Dial, asked
from osm_probes.health.checks import UnhealthyError
from osm_probes.pki.authority import Authority
from tests.certificates import client_context, server_context

AUTHORITY = Authority.create("dial-test")
SERVER = AUTHORITY.issue("server", validity=timedelta(hours=1))

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@asynccontextmanager
async def listening(serve: Serve = greet, *, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def dial(port: int, *, context: ssl.SSLContext | None = None, name: str = "server", within: float = 5.0) -> bytes:
    """What comes over a new connection."""
    context = context or client_context(AUTHORITY.root_pem)
    whom = Dial(address="127.0.0.1", port=port, context=context, server_name=name)
    return await asked(whom, lambda reader, _: reader.readexactly(5), within=within)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


async def test_a_new_connection_is_trusted_and_usable() -> None:
    async with listening(context=server_context(SERVER)) as port:
        assert await dial(port) == b"hello"


async def test_refused_is_said() -> None:
    port = free_port()
    with pytest.raises(UnhealthyError, match=f"^127.0.0.1:{port} refuses connections$"):
        await dial(port)


async def test_a_refused_dial_is_tried_once_more_after_a_moment() -> None:
    port = free_port()

    async def late() -> None:
        await asyncio.sleep(0.005)
        async with listening_on(port):
            await asyncio.sleep(0.2)

    listening_soon = asyncio.ensure_future(late())
    assert await dial(port) == b"hello"
    await listening_soon


class Leaving:
    """A server that leaves so many times before it greets."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.dials = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dials += 1
        await (leave if self.dials <= self.times else greet)(reader, writer)


async def test_who_is_cut_off_before_the_answer_asks_once_more() -> None:
    serve = Leaving(1)
    async with listening(serve, context=server_context(SERVER)) as port:
        assert await dial(port) == b"hello"
    assert serve.dials == 2


async def test_who_is_cut_off_again_asks_no_more() -> None:
    serve = Leaving(2)
    async with listening(serve, context=server_context(SERVER)) as port:
        with pytest.raises(UnhealthyError, match="closed the connection before its answer was complete"):
            await dial(port)
    assert serve.dials == 2


async def test_who_is_cut_off_in_the_handshake_asks_once_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as old:
        port = old.getsockname()[1]
        old.settimeout(0.0)
        asking = asyncio.create_task(dial(port))
        waiting, _ = await asyncio.get_running_loop().sock_accept(old)
    waiting.close()
    async with listening_on(port):
        assert await asking == b"hello"


async def test_asking_once_more_takes_no_more_time() -> None:
    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.06)
        writer.transport.abort()

    async with listening(slow, context=server_context(SERVER)) as port:
        started = asyncio.get_running_loop().time()
        with pytest.raises(UnhealthyError, match=r"no answer from .* within 0.1 s"):
            await dial(port, within=0.1)
        assert asyncio.get_running_loop().time() - started < 0.2


@asynccontextmanager
async def listening_on(port: int) -> AsyncIterator[None]:
    server = await asyncio.start_server(greet, "127.0.0.1", port, ssl=server_context(SERVER))
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def test_a_name_that_the_certificate_does_not_have_is_said() -> None:
    async with listening(context=server_context(SERVER)) as port:
        with pytest.raises(UnhealthyError, match="TLS: the server's certificate: Hostname mismatch"):
            await dial(port, name="other")


async def test_a_foreign_certificate_is_said() -> None:
    foreign = Authority.create("foreign").issue("server", validity=timedelta(hours=1))
    async with listening(context=server_context(foreign)) as port:
        with pytest.raises(UnhealthyError, match="TLS: the server's certificate: unable to get local issuer"):
            await dial(port)


async def test_an_expired_certificate_is_said() -> None:
    expired = AUTHORITY.issue("server", validity=timedelta(seconds=-5))
    async with listening(context=server_context(expired)) as port:
        with pytest.raises(UnhealthyError, match="TLS: the server's certificate: certificate has expired"):
            await dial(port)


async def test_a_server_that_says_nothing_is_waited_for_within_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(UnhealthyError, match=f"^no TLS handshake from 127.0.0.1:{port} within 0.05 s$"):
            await dial(port, within=0.05)


async def test_a_server_that_leaves_in_the_handshake_is_said() -> None:
    async with listening(leave) as port:
        with pytest.raises(UnhealthyError, match="closed the connection before its TLS handshake was complete"):
            await dial(port)


async def test_a_server_that_leaves_before_its_answer_is_said() -> None:
    async with listening(leave, context=server_context(SERVER)) as port:
        with pytest.raises(UnhealthyError, match="closed the connection before its answer was complete"):
            await dial(port)


async def test_a_caller_that_gives_up_is_cancelled_and_no_verdict() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked = asyncio.ensure_future(dial(silent.getsockname()[1]))
        await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
