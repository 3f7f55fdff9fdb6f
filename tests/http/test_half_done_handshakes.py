"""TLS handshakes that end by a limit or a cancellation while other connections come and go on the same descriptors."""

import asyncio
import contextlib
import socket
import ssl
from datetime import timedelta
from http import HTTPStatus

import pytest

from osm_probes.admission.tls import server_context
from osm_probes.foundation.listen import listen
from osm_probes.foundation.tasks import TaskPool, background_tasks
from osm_probes.http.connection import Connection
from osm_probes.http.limits import Limits
from osm_probes.http.message import Answer, Request
from osm_probes.http.server import HttpServer
from osm_probes.pki.authority import Authority
from tests.log_capture import capture_logs

_CLIENTS = 300
_NAME = "server.test"


async def test_a_handshake_that_ends_half_done_frees_its_descriptor_only_with_its_transport() -> None:
    """asyncio refuses the number of a freed descriptor to a new connection while a transport still uses it."""
    context = server_context(Authority.create("tests").issue(_NAME, validity=timedelta(hours=1)))

    async def secure(_: socket.socket) -> ssl.SSLContext:
        return context

    async def answer(_: Request) -> Answer:
        return Answer(HTTPStatus.OK, "here")

    hello = _client_hello(ssl.create_default_context())
    # Fewer places than clients: some handshakes are cancelled to make room, others reach the limit of their time.
    limits = Limits(_CLIENTS // 2, idle=60, head=0.3)
    with listen(0, address="127.0.0.1") as listener, capture_logs() as logs:
        port = listener.getsockname()[1]
        async with (
            HttpServer(answer, limits=limits, secure=secure) as server,
            background_tasks(accept=server.accept(listener)),
            TaskPool("test") as pool,
        ):
            for _ in range(_CLIENTS):
                _ = pool.start(_stay_half_done(port, hello), name="half-done handshakes")
            for _ in range(1000):
                await _come_and_go(port)
    assert [entry for entry in logs if "RuntimeError" in str(entry.get("error"))] == []


async def test_a_connection_dropped_at_the_end_of_its_handshake_frees_its_descriptor_only_with_its_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At that moment asyncio would go on with TLS's own shutdown, for up to a second, if it were asked to close."""
    made = Connection.connection_made

    def drop(self: Connection, transport: asyncio.BaseTransport) -> None:
        made(self, transport)
        for task in asyncio.all_tasks():
            if task.get_name() == "http connection":
                task.cancel()

    authority = Authority.create("tests")
    context = server_context(authority.issue(_NAME, validity=timedelta(hours=1)))
    client = ssl.create_default_context(cadata=authority.root_pem.decode())

    async def secure(accepted: socket.socket) -> ssl.SSLContext | None:
        return context if tls_first else None

    async def answer(_: Request) -> Answer:
        return Answer(HTTPStatus.OK, "here")

    with listen(0, address="127.0.0.1") as listener:
        port = listener.getsockname()[1]
        async with (
            HttpServer(answer, limits=Limits(256, idle=60), secure=secure) as server,
            background_tasks(accept=server.accept(listener)),
        ):
            for _ in range(20):
                tls_first = True
                monkeypatch.setattr(Connection, "connection_made", drop)
                with contextlib.closing(await asyncio.to_thread(_shake_hands, port, client)):
                    monkeypatch.undo()
                    tls_first = False
                    for _ in range(4):
                        await _come_and_go(port)


def _shake_hands(port: int, context: ssl.SSLContext) -> socket.socket:
    """A connection whose handshake is complete for the client, which then neither reads nor closes it."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    with contextlib.suppress(OSError):
        return context.wrap_socket(connection, server_hostname=_NAME)
    return connection


async def _stay_half_done(port: int, hello: bytes) -> None:
    """Begin a handshake and do not go on with it; begin another when the server ends it."""
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as connection, contextlib.suppress(OSError):
            connection.settimeout(0.0)
            await loop.sock_connect(connection, ("127.0.0.1", port))
            await loop.sock_sendall(connection, hello)
            while await loop.sock_recv(connection, 65536):
                pass


async def _come_and_go(port: int) -> None:
    """A connection of asyncio on the lowest free descriptor, as a client of the Kubernetes API makes them."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()


def _client_hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=_NAME).do_handshake()
    return outgoing.read()
