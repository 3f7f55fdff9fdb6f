import asyncio
import contextlib
import gzip
import json
import os
import re
import resource
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.admission.canary_review import canary_review
from osm_probes.admission.handler import WebhookHandler
from osm_probes.admission.server import LIMITS, WebhookServer
from osm_probes.admission.tls import server_context
from osm_probes.admission.webhook import Webhook
from osm_probes.foundation.listen import AddressInUseError, listen
from osm_probes.foundation.tasks import start
from osm_probes.health.checks import CheckFunction, UnhealthyError
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.http.limits import Limits
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from tests.admission.fakes import FakeBootstrapStore, FakeNamespaces
from tests.admission.pods import ENROLLED, OPTIONS, encoded, review
from tests.listening_sockets import destroy_listening_socket

AUTHORITY = Authority.create("webhook tests")
JSON = "Content-Type: application/json\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def certificate(authority: Authority = AUTHORITY) -> Certificate:
    return authority.issue("localhost", validity=timedelta(hours=1))


def trusting(authority: Authority = AUTHORITY) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.root_pem.decode())


async def succeed() -> None:
    """The check succeeds."""


async def fail() -> None:
    raise UnhealthyError("no")


@contextlib.asynccontextmanager
async def serving(
    *,
    can_inject: CheckFunction = succeed,
    webhook: Webhook | None = None,
    grace: float = 5.0,
    limits: Limits = LIMITS,
    body_within: float = 10.0,
    client_ca_pem: bytes = b"",
    canary_token: str = "",
) -> AsyncIterator[WebhookServer]:
    made = webhook or Webhook(OPTIONS, namespaces=FakeNamespaces(bookstore=ENROLLED), within=5)
    async with WebhookServer(
        listen,
        tls=server_context(certificate(), client_ca_pem=client_ca_pem),
        handler=WebhookHandler(made, can_inject=can_inject, body_within=body_within, canary_token=canary_token),
        lifecycle=Lifecycle("webhook"),
        grace=grace,
        limits=limits,
    ) as server:
        yield server


class Connection:
    """A raw connection, TLS or plain."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, sent: bytes) -> bytes:
        """Send bytes; the head and body of one response, empty if the connection is closed."""
        self.writer.write(sent)
        async with asyncio.timeout(5):
            return await self.receive()

    async def receive(self) -> bytes:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = re.search(rb"Content-Length: (\d+)", head)
        return head + (await self.reader.readexactly(int(length[1])) if length and b"HEAD" not in head else b"")

    async def is_closed(self) -> bool:
        """True when the server has closed the connection."""
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read() == b""
        return True


@contextlib.asynccontextmanager
async def connect(
    server: WebhookServer, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(
        address, server.port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def post(body: bytes, *, path: str = "/mutate-pod-creation", head: str = JSON) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def request(server: WebhookServer, sent: bytes, *, tls: ssl.SSLContext | None = None) -> tuple[int, str]:
    """The status and body of the response on a new connection."""
    async with connect(server, tls=tls) as connection:
        head, _, body = (await connection.send(sent)).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


@pytest.mark.parametrize("tls", [None, trusting()], ids=["plain", "TLS"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_the_healthz_response_has_exactly_these_bytes(tls: ssl.SSLContext | None, address: str) -> None:
    async with serving() as server, connect(server, tls=tls, address=address) as connection:
        answer = await connection.send(HEALTH)
    date = re.compile(rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
    assert date.sub(b"Date: -", answer) == (
        b"HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 9\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHealth OK"
    )


@pytest.mark.parametrize("tls", [None, trusting()], ids=["plain", "TLS"])
async def test_healthz_closes_without_a_response_if_it_cannot_inject(tls: ssl.SSLContext | None) -> None:
    async with serving(can_inject=fail) as server, connect(server, tls=tls) as connection:
        assert await connection.send(HEALTH) == b""


async def test_a_check_that_raises_an_unexpected_error_fails() -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    async with serving(can_inject=broken) as server, connect(server) as connection:
        assert await connection.send(HEALTH) == b""


async def test_healthz_answers_every_method_and_head_without_a_body() -> None:
    async with serving() as server:
        for method in (b"POST", b"PUT", b"OPTIONS", b"DELETE"):
            assert await request(server, HEALTH.replace(b"GET", method)) == (200, "Health OK")
        async with connect(server) as connection:
            connection.writer.write(
                HEALTH.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            )
            answer = await connection.reader.read()
        assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
        assert b"Content-Length: 9\r\n" in answer


async def test_a_review_over_tls_is_answered() -> None:
    async with serving() as server:
        status, body = await request(
            server, post(canary_review(), path="/mutate-pod-creation?timeout=20s"), tls=trusting()
        )
    assert status == 200
    assert json.loads(body)["response"]["patchType"] == "JSONPatch"


async def test_plain_http_serves_nothing_but_healthz() -> None:
    async with serving() as server:
        assert await request(server, post(canary_review())) == (404, "404 page not found")
        assert await request(server, HEALTH.replace(b"/healthz", b"/")) == (404, "404 page not found")


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (post(b"{}", head="Content-Type: text/plain\r\n"), 415, "content type 'text/plain' is not supported"),
        (post(b"{}", head=""), 415, "content type 'none'"),
        (post(b""), 400, "not an AdmissionReview: Input data was truncated"),
        (post(encoded(review(uid=7))), 400, "at `$.request.uid`"),
        (HEALTH.replace(b"/healthz", b"/mutate-pod-creation"), 405, "GET is not supported"),
        (HEALTH.replace(b"/healthz", b"/other"), 404, "404 page not found"),
        (HEALTH.replace(b"/healthz", b"/healthz/x"), 404, "404 page not found"),
        (post(b" " * 100).replace(b" 100\r", b" 3145729\r"), 413, "larger than 3145728 bytes"),
        (b"nonsense\r\n\r\n", 400, ""),
        (post(gzip.compress(canary_review()), head=JSON + "Content-Encoding: gzip\r\n"), 400, "not valid UTF-8"),
    ],
)
async def test_an_invalid_request_is_rejected(sent: bytes, status: int, text: str) -> None:
    async with (
        serving(limits=Limits(512, idle=120, linger=0.05)) as server,
        connect(server, tls=trusting()) as connection,
    ):
        head, _, body = (await connection.send(sent)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 %d " % status, b"HTTP/1.0 %d " % status))
    assert text.encode() in body
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert names[:3] == [b"Date", b"Content-Length", b"Content-Type"]
    assert b"Server" not in names


async def test_a_content_type_may_have_parameters() -> None:
    sent = post(canary_review(), head="Content-Type: application/json; charset=utf-8\r\n")
    async with serving() as server:
        assert (await request(server, sent, tls=trusting()))[0] == 200


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 3 * 1024 * 1024 + 1])
async def test_the_size_limit_applies_to_chunked_bodies(size: int) -> None:
    head = "POST /mutate-pod-creation HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    sent = f"{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n".encode() + b" " * size + b"\r\n0\r\n\r\n"
    async with serving() as server:
        status, _ = await request(server, sent, tls=trusting())
    assert status == (400 if size == 3 * 1024 * 1024 else 413)


async def test_expect_100_continue_is_answered_before_the_body() -> None:
    sent = post(canary_review(), head=JSON + "Expect: 100-continue\r\n")
    async with serving() as server, connect(server, tls=trusting()) as connection:
        assert await connection.send(sent[: -len(canary_review())]) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert b" 200 OK" in await connection.send(canary_review())


async def test_one_connection_serves_many_reviews() -> None:
    async with serving() as server, connect(server, tls=trusting()) as connection:
        for _ in range(20):
            assert b" 200 OK" in await connection.send(post(canary_review()))


async def test_old_tls_versions_are_rejected() -> None:
    old = trusting()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with serving() as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connect(server, tls=old):
                pass


async def test_a_new_certificate_is_used_and_open_connections_stay() -> None:
    other = Authority.create("another root")
    async with serving() as server, connect(server, tls=trusting()) as connection:
        await connection.send(HEALTH)
        server.update_tls(server_context(certificate(other)))
        assert await request(server, HEALTH, tls=trusting(other)) == (200, "Health OK")
        with pytest.raises(ssl.SSLCertVerificationError):
            await request(server, HEALTH, tls=trusting())
        assert b"Health OK" in await connection.send(HEALTH)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16\x03\x01", id="half a TLS handshake"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost", id="half a head"),
    ],
)
async def test_an_incomplete_request_is_closed(sent: bytes) -> None:
    async with serving(limits=Limits(512, idle=120, head=0.1)) as server, connect(server) as connection:
        connection.writer.write(sent)
        assert await connection.is_closed()


async def test_a_slow_head_is_closed_also_after_a_complete_request() -> None:
    async with serving(limits=Limits(512, idle=120, head=0.1)) as server, connect(server, tls=trusting()) as connection:
        assert b"Health OK" in await connection.send(HEALTH)
        started = asyncio.get_running_loop().time()
        with contextlib.suppress(ConnectionError):
            for index in range(100):
                if connection.reader.at_eof():
                    break
                connection.writer.write(HEALTH[index % 20 : index % 20 + 1])
                await asyncio.sleep(0.02)
        assert asyncio.get_running_loop().time() - started < 1


async def test_an_idle_connection_may_wait_longer_than_a_head_may_take() -> None:
    async with serving(limits=Limits(512, idle=120, head=0.1)) as server, connect(server) as connection:
        await connection.send(HEALTH)
        await asyncio.sleep(0.2)
        assert b"Health OK" in await connection.send(HEALTH)


async def test_a_body_that_does_not_arrive_is_a_timeout() -> None:
    async with serving(limits=Limits(512, idle=120, linger=0.05), body_within=0.1) as server:
        status, text = await request(server, post(canary_review())[:-1], tls=trusting())
    assert (status, text) == (408, "the body did not arrive within 0.1 s")


@pytest.mark.parametrize(
    "sent", [b"\x00" * 100, b"\x16" + b"\xff" * 5000, b"\xff" * 100_000, b"\r\n" * 5000, b"G" * 100_000]
)
async def test_garbage_does_not_affect_other_connections(sent: bytes) -> None:
    async with serving() as server:
        async with connect(server) as connection:
            connection.writer.write(sent)
            connection.writer.write_eof()
            with contextlib.suppress(ConnectionError):  # what the server has not read is answered with a reset
                assert b"Server" not in await connection.reader.read()
        assert await request(server, HEALTH, tls=trusting()) == (200, "Health OK")


async def test_silent_connections_do_not_block_new_ones() -> None:
    async with serving(limits=Limits(8, idle=120, head=60)) as server, contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connect(server)) for _ in range(40)]
        assert await request(server, HEALTH, tls=trusting()) == (200, "Health OK")
        assert await crowd[0].is_closed()


async def test_a_connection_with_an_in_flight_request_is_not_dropped_for_others() -> None:
    started_review, go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        started_review.set()
        await go.wait()

    async with serving(can_inject=slow, limits=Limits(4, idle=120)) as server, contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(connect(server))
        answer = start(first.send(HEALTH), name="request")
        await started_review.wait()
        for _ in range(20):
            await stack.enter_async_context(connect(server))
        go.set()
        assert b"Health OK" in await answer


CROWD = """
import socket, sys
sys.stdin.readline()
crowd = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(300)]
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5) as last:
    last.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(last.recv(1000))
"""


@contextlib.contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    """Limit this process to `count` more open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_exhausted_file_descriptors_do_not_block_new_connections() -> None:
    async with serving() as server:
        pipe = asyncio.subprocess.PIPE
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CROWD, str(server.port), stdin=pipe, stdout=pipe
        )
        with few_descriptors(50):
            async with asyncio.timeout(8):
                answer, _ = await crowd.communicate(b"go\n")
    assert b"Health OK" in answer


async def test_a_thousand_connections_that_close_at_once_do_not_affect_others() -> None:
    async with serving() as server:
        for _ in range(1000):
            socket.create_connection(("127.0.0.1", server.port)).close()
        assert await request(server, HEALTH, tls=trusting()) == (200, "Health OK")


async def test_the_lifecycle_has_the_phase_of_the_server() -> None:
    lifecycle = Lifecycle("webhook")
    async with serving_with(lifecycle) as server:
        served = lifecycle.phase
        assert lifecycle.reason == f"listening on port {server.port}"
    assert (served, lifecycle.phase) == (Phase.SERVING, Phase.STOPPED)


@contextlib.asynccontextmanager
async def serving_with(lifecycle: Lifecycle) -> AsyncIterator[WebhookServer]:
    made = WebhookHandler(Webhook(OPTIONS, namespaces=FakeNamespaces(), within=1), can_inject=succeed)
    async with WebhookServer(listen, tls=server_context(certificate()), handler=made, lifecycle=lifecycle) as server:
        yield server


async def test_a_lost_listening_socket_is_replaced_and_open_connections_stay() -> None:
    lifecycle = Lifecycle("webhook")
    async with serving_with(lifecycle) as server, connect(server, tls=trusting()) as before:
        assert b" 200 OK" in await before.send(HEALTH)
        port = server.port
        for _ in range(2):
            destroy_listening_socket(port)
            await lifecycle.until(Phase.RECOVERING, within=5)
            await lifecycle.until(Phase.SERVING, within=5)
            assert await request(server, HEALTH, tls=trusting()) == (200, "Health OK")
        assert b" 200 OK" in await before.send(HEALTH)
    assert lifecycle.phase is Phase.STOPPED


async def test_a_port_that_another_process_took_is_bound_again_later() -> None:
    lifecycle = Lifecycle("webhook")
    async with serving_with(lifecycle) as server:
        destroy_listening_socket(server.port)
        await lifecycle.until(Phase.RECOVERING, within=5)
        with listen(server.port):
            await asyncio.sleep(0.15)
            assert lifecycle.phase is Phase.RECOVERING
        await lifecycle.until(Phase.SERVING, within=5)
        assert await request(server, HEALTH) == (200, "Health OK")


async def test_a_stop_while_the_listening_socket_is_lost_ends_normally() -> None:
    lifecycle = Lifecycle("webhook")
    async with serving_with(lifecycle) as server:
        destroy_listening_socket(server.port)
        await lifecycle.until(Phase.RECOVERING, within=5)
    assert lifecycle.phase is Phase.STOPPED
    with pytest.raises(ConnectionRefusedError):
        await request(server, HEALTH)


async def test_a_listening_socket_that_is_lost_while_draining_is_no_failure() -> None:
    lifecycle = Lifecycle("webhook")
    async with serving_with(lifecycle) as server:
        lifecycle.move(Phase.DRAINING, reason="asked to stop")
        destroy_listening_socket(server.port)
        with pytest.raises(TimeoutError):
            await lifecycle.until(Phase.FAILED, within=0.1)
    assert lifecycle.phase is Phase.STOPPED


def slow_webhook(*, started_review: asyncio.Event, go: asyncio.Event) -> Webhook:
    async def wait() -> None:
        started_review.set()
        await go.wait()

    return Webhook(
        OPTIONS, namespaces=FakeNamespaces(bookstore=ENROLLED), within=5, bootstrap_store=FakeBootstrapStore(wait)
    )


async def test_a_stop_finishes_in_flight_requests_and_closes_idle_connections() -> None:
    started_review, go = asyncio.Event(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        async with serving(webhook=slow_webhook(started_review=started_review, go=go)) as server:
            busy = await stack.enter_async_context(connect(server, tls=trusting()))
            idle = await stack.enter_async_context(connect(server))
            await idle.send(HEALTH)
            answer = start(busy.send(post(encoded(review()))), name="request")
            await started_review.wait()
            asyncio.get_running_loop().call_later(0.1, go.set)
            started = asyncio.get_running_loop().time()
        assert 0.1 <= asyncio.get_running_loop().time() - started < 1
        assert b" 200 OK" in await answer
        assert await idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            await request(server, HEALTH)


async def test_a_stop_waits_no_longer_than_grace() -> None:
    started_review, go = asyncio.Event(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        async with serving(webhook=slow_webhook(started_review=started_review, go=go), grace=0.1) as server:
            busy = await stack.enter_async_context(connect(server, tls=trusting()))
            answer = start(busy.send(post(encoded(review()))), name="request")
            await started_review.wait()
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 0.5
        assert await answer == b""


async def test_a_taken_port_raises_address_in_use_error() -> None:
    async with serving() as server:
        with pytest.raises(AddressInUseError):
            listen(server.port)


CLIENTS = Authority.create("clients")


def presenting(client: Certificate) -> ssl.SSLContext:
    """A client that presents this certificate."""
    context = trusting()
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(client.chain_pem + client.key_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


async def test_with_a_client_ca_only_its_clients_and_the_canary_get_a_review_and_all_get_healthz() -> None:
    api_server = presenting(CLIENTS.issue("kube-apiserver", validity=timedelta(hours=1)))
    canary = post(canary_review(), head=JSON + "Authorization: Bearer secret\r\n")
    guess = post(canary_review(), head=JSON + "Authorization: Bearer s\xe9cret\r\n")
    async with serving(client_ca_pem=CLIENTS.root_pem, canary_token="secret") as server:
        assert (await request(server, post(canary_review()), tls=api_server))[0] == 200
        assert (await request(server, canary, tls=trusting()))[0] == 200
        for sent in (guess, post(canary_review()), post(canary_review(), head=JSON + "Authorization: Bearer \r\n")):
            refused = (403, "a review needs a client certificate of the API server: see --client-ca")
            assert await request(server, sent, tls=trusting()) == refused
        for tls in (None, trusting(), api_server):
            assert await request(server, HEALTH, tls=tls) == (200, "Health OK")


@pytest.mark.parametrize(
    "client",
    [
        AUTHORITY.issue("kube-apiserver", validity=timedelta(hours=1)),
        Authority.create("clients").issue("kube-apiserver", validity=timedelta(hours=1)),
    ],
    ids=["the webhook's own CA", "another CA with the same name"],
)
async def test_with_a_client_ca_a_certificate_of_another_ca_is_rejected(client: Certificate) -> None:
    async with serving(client_ca_pem=CLIENTS.root_pem, canary_token="secret") as server:
        async with connect(server, tls=presenting(client)) as connection:
            assert await connection.is_closed()
        assert await request(server, HEALTH, tls=trusting()) == (200, "Health OK")


async def test_another_client_ca_is_used_from_the_next_connection_on() -> None:
    old, new = CLIENTS, Authority.create("new clients")
    async with serving(client_ca_pem=old.root_pem, canary_token="secret") as server:
        async with connect(server, tls=presenting(old.issue("x", validity=timedelta(hours=1)))) as before:
            assert b" 200 OK" in await before.send(post(canary_review()))
            server.update_tls(server_context(certificate(), client_ca_pem=new.root_pem))
            server.close_connections()
            assert await before.is_closed()
        accepted = presenting(new.issue("kube-apiserver", validity=timedelta(hours=1)))
        assert (await request(server, post(canary_review()), tls=accepted))[0] == 200
        async with connect(server, tls=presenting(old.issue("x", validity=timedelta(hours=1)))) as connection:
            assert await connection.is_closed()


async def test_connections_are_closed_after_the_response_to_the_review_in_flight() -> None:
    started_review, go = asyncio.Event(), asyncio.Event()
    async with (
        serving(webhook=slow_webhook(started_review=started_review, go=go)) as server,
        connect(server, tls=trusting()) as busy,
    ):
        answer = start(busy.send(post(encoded(review()))), name="request")
        await started_review.wait()
        server.close_connections()
        go.set()
        assert b" 200 OK" in await answer
        assert await busy.is_closed()
        assert await request(server, HEALTH, tls=trusting()) == (200, "Health OK")


async def test_the_client_of_a_review_is_its_ip_address() -> None:
    clients: list[str] = []

    class Recorder(Webhook):
        async def answer(self, body: bytes, *, client: str = "") -> bytes:
            clients.append(client)
            return await super().answer(body, client=client)

    made = Recorder(OPTIONS, namespaces=FakeNamespaces(bookstore=ENROLLED), within=5)
    async with serving(webhook=made) as server:
        await request(server, post(encoded(review())), tls=trusting())
    assert clients == ["127.0.0.1"]


async def test_a_client_cannot_renegotiate_tls() -> None:
    assert server_context(certificate()).options & ssl.OP_NO_RENEGOTIATION


async def test_reviews_are_answered_while_200_clients_hold_large_incomplete_bodies() -> None:
    head = post(b" " * 3_000_000)[:-1]
    async with serving() as server, contextlib.AsyncExitStack() as stack:
        for number in range(200):
            slow = await stack.enter_async_context(connect(server, tls=trusting()))
            slow.writer.write(head[: 300_000 if number else None])
        for _ in range(20):
            assert (await request(server, post(encoded(review())), tls=trusting()))[0] == 200
