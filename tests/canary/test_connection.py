import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from osm_probes.canary.connection import Target, connect_and_run
from osm_probes.health.checks import UnhealthyError
from osm_probes.pki.authority import Authority
from tests.certificates import client_context, server_context

AUTHORITY = Authority.create("canary-test")
SERVER = AUTHORITY.issue("server", validity=timedelta(hours=1))

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


async def close_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@asynccontextmanager
async def running_server(serve: Serve = greet, *, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a running server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def connect(
    port: int, *, context: ssl.SSLContext | None = None, name: str = "server", within: float = 5.0
) -> bytes:
    """The five bytes that a new connection receives."""
    context = context or client_context(AUTHORITY.root_pem)
    target = Target(address="127.0.0.1", port=port, context=context, server_name=name)
    return await connect_and_run(target, lambda reader, _: reader.readexactly(5), within=within)


def free_port() -> int:
    """A port on which no socket listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


async def test_a_new_connection_is_verified_and_runs_the_exchange() -> None:
    async with running_server(context=server_context(SERVER)) as port:
        assert await connect(port) == b"hello"


async def test_a_refused_connection_is_reported() -> None:
    port = free_port()
    with pytest.raises(UnhealthyError, match=f"^127.0.0.1:{port} refuses connections$"):
        await connect(port)


async def test_a_refused_connection_is_retried_once() -> None:
    port = free_port()

    async def late() -> None:
        await asyncio.sleep(0.005)
        async with greeting_server_on(port):
            await asyncio.sleep(0.2)

    server = asyncio.create_task(late())
    assert await connect(port) == b"hello"
    await server


class Closing:
    """A server that closes so many connections before it sends a greeting."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await (close_at_once if self.connections <= self.times else greet)(reader, writer)


async def test_a_connection_closed_before_the_answer_is_retried_once() -> None:
    serve = Closing(1)
    async with running_server(serve, context=server_context(SERVER)) as port:
        assert await connect(port) == b"hello"
    assert serve.connections == 2


async def test_a_second_closed_connection_is_not_retried() -> None:
    serve = Closing(2)
    async with running_server(serve, context=server_context(SERVER)) as port:
        with pytest.raises(UnhealthyError, match="closed the connection before its answer was complete"):
            await connect(port)
    assert serve.connections == 2


async def test_a_connection_closed_during_the_handshake_is_retried_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as old:
        port = old.getsockname()[1]
        old.settimeout(0.0)
        connecting = asyncio.create_task(connect(port))
        waiting, _ = await asyncio.get_running_loop().sock_accept(old)
    waiting.close()
    async with greeting_server_on(port):
        assert await connecting == b"hello"


async def test_the_retry_has_no_time_limit_of_its_own() -> None:
    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.06)
        writer.transport.abort()

    async with running_server(slow, context=server_context(SERVER)) as port:
        started = asyncio.get_running_loop().time()
        with pytest.raises(UnhealthyError, match=r"no answer from .* within 0.1 s"):
            await connect(port, within=0.1)
        assert asyncio.get_running_loop().time() - started < 0.2


@asynccontextmanager
async def greeting_server_on(port: int) -> AsyncIterator[None]:
    server = await asyncio.start_server(greet, "127.0.0.1", port, ssl=server_context(SERVER))
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def test_a_server_name_that_the_certificate_does_not_have_is_reported() -> None:
    async with running_server(context=server_context(SERVER)) as port:
        with pytest.raises(UnhealthyError, match="TLS: the server's certificate: Hostname mismatch"):
            await connect(port, name="other")


async def test_a_certificate_of_another_ca_is_reported() -> None:
    foreign = Authority.create("foreign").issue("server", validity=timedelta(hours=1))
    async with running_server(context=server_context(foreign)) as port:
        with pytest.raises(UnhealthyError, match="TLS: the server's certificate: unable to get local issuer"):
            await connect(port)


async def test_an_expired_certificate_is_reported() -> None:
    expired = AUTHORITY.issue("server", validity=timedelta(seconds=-5))
    async with running_server(context=server_context(expired)) as port:
        with pytest.raises(UnhealthyError, match="TLS: the server's certificate: certificate has expired"):
            await connect(port)


async def test_a_server_without_a_response_is_reported_after_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(UnhealthyError, match=f"^no TLS handshake from 127.0.0.1:{port} within 0.05 s$"):
            await connect(port, within=0.05)


async def test_a_server_that_closes_during_the_handshake_is_reported() -> None:
    async with running_server(close_at_once) as port:
        with pytest.raises(UnhealthyError, match="closed the connection before its TLS handshake was complete"):
            await connect(port)


async def test_a_server_that_closes_before_its_answer_is_reported() -> None:
    async with running_server(close_at_once, context=server_context(SERVER)) as port:
        with pytest.raises(UnhealthyError, match="closed the connection before its answer was complete"):
            await connect(port)


async def test_a_cancelled_check_raises_cancelled_error_and_not_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connecting = asyncio.create_task(connect(silent.getsockname()[1]))
        await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


async def stay(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_connection_cancelled_at_the_end_of_its_handshake_frees_its_descriptor_only_with_its_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At that moment asyncio would go on with TLS's own shutdown while the next connection gets the descriptor."""
    made = asyncio.StreamReaderProtocol.connection_made
    descriptors: list[int] = []

    def cancel(self: asyncio.StreamReaderProtocol, transport: asyncio.BaseTransport) -> None:
        made(self, transport)
        if (address := transport.get_extra_info("peername")) and address[1] == port:
            descriptors.append(transport.get_extra_info("socket").fileno())
            dial.cancel()

    async with running_server(stay, context=server_context(SERVER)) as port:
        monkeypatch.setattr(asyncio.StreamReaderProtocol, "connection_made", cancel)
        dial = asyncio.ensure_future(connect(port))
        await asyncio.wait({dial})
        monkeypatch.undo()
        assert (dial.cancelled(), len(descriptors)) == (True, 1)
        with socket.socket() as following:
            following.settimeout(0.0)
            # asyncio raises RuntimeError here if a transport still uses the descriptor.
            assert following.fileno() == descriptors[0]
            await asyncio.get_running_loop().sock_connect(following, ("127.0.0.1", port))
