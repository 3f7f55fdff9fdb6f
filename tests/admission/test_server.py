import asyncio
import contextlib
import gzip
import json
import re
import resource
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.admission import handler
from osm_probes.admission.handler import Handler
from osm_probes.admission.self_check import sample_review
from osm_probes.admission.server import WebhookServer
from osm_probes.admission.webhook import Webhook
from osm_probes.foundation.listen import AddressInUseError, listen
from osm_probes.health.checks import Question, UnhealthyError
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.http import connection
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from tests.admission.pods import ENROLLED, OPTIONS, encoded, review
from tests.admission.test_webhook import KnownNamespaces, Shelf
from tests.subscribers import destroy_listener

AUTHORITY = Authority.create("webhook tests")
JSON = "Content-Type: application/json\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def certificate(authority: Authority = AUTHORITY) -> Certificate:
    return authority.issue("localhost", validity=timedelta(hours=1))


def trusting(authority: Authority = AUTHORITY) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.root_pem.decode())


async def yes() -> None:
    """It can inject."""


async def no() -> None:
    raise UnhealthyError("no")


@contextlib.asynccontextmanager
async def serving(
    *, can_inject: Question = yes, webhook: Webhook | None = None, grace: float = 5.0, connections: int = 512
) -> AsyncIterator[WebhookServer]:
    made = webhook or Webhook(OPTIONS, namespaces=KnownNamespaces(bookstore=ENROLLED), within=5)
    async with WebhookServer(
        listen,
        certificate=certificate(),
        handler=Handler(made, can_inject=can_inject),
        lifecycle=Lifecycle("webhook"),
        grace=grace,
        connections=connections,
    ) as server:
        yield server


class Dialled:
    """A raw connection, TLS or plain."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, sent: bytes) -> bytes:
        """Send bytes; the head and body of one answer, nothing where the connection ends."""
        self.writer.write(sent)
        async with asyncio.timeout(5):
            return await self.answer()

    async def answer(self) -> bytes:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = re.search(rb"Content-Length: (\d+)", head)
        return head + (await self.reader.readexactly(int(length[1])) if length and b"HEAD" not in head else b"")

    async def ended(self) -> bool:
        """True once the other side has closed."""
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read() == b""
        return True


@contextlib.asynccontextmanager
async def dial(
    server: WebhookServer, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[Dialled]:
    reader, writer = await asyncio.open_connection(
        address, server.port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        yield Dialled(reader, writer)
    finally:
        writer.transport.abort()


def post(body: bytes, *, path: str = "/mutate-pod-creation", head: str = JSON) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(server: WebhookServer, sent: bytes, *, tls: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Status and body of the answer on a new connection."""
    async with dial(server, tls=tls) as dialled:
        head, _, body = (await dialled.ask(sent)).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


@pytest.mark.parametrize("tls", [None, trusting()], ids=["plain", "TLS"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_healthz_is_byte_for_byte_the_contracts(tls: ssl.SSLContext | None, address: str) -> None:
    async with serving() as server, dial(server, tls=tls, address=address) as dialled:
        answer = await dialled.ask(HEALTH)
    date = re.compile(rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
    assert date.sub(b"Date: -", answer) == (
        b"HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 9\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHealth OK"
    )


@pytest.mark.parametrize("tls", [None, trusting()], ids=["plain", "TLS"])
async def test_healthz_closes_without_a_byte_where_it_cannot_inject(tls: ssl.SSLContext | None) -> None:
    async with serving(can_inject=no) as server, dial(server, tls=tls) as dialled:
        assert await dialled.ask(HEALTH) == b""


async def test_a_question_that_breaks_is_a_no() -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    async with serving(can_inject=broken) as server, dial(server) as dialled:
        assert await dialled.ask(HEALTH) == b""


async def test_any_method_gets_the_health_and_head_gets_no_body() -> None:
    async with serving() as server:
        for method in (b"POST", b"PUT", b"OPTIONS", b"DELETE"):
            assert await ask(server, HEALTH.replace(b"GET", method)) == (200, "Health OK")
        async with dial(server) as dialled:
            dialled.writer.write(HEALTH.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            answer = await dialled.reader.read()
        assert answer.endswith(b"\r\nConnection: close\r\n\r\n")
        assert b"Content-Length: 9\r\n" in answer


async def test_a_review_over_tls_is_answered() -> None:
    async with serving() as server:
        status, body = await ask(server, post(sample_review(), path="/mutate-pod-creation?timeout=20s"), tls=trusting())
    assert status == 200
    assert json.loads(body)["response"]["patchType"] == "JSONPatch"


async def test_plain_http_serves_nothing_but_healthz() -> None:
    async with serving() as server:
        assert await ask(server, post(sample_review())) == (404, "404 page not found")
        assert await ask(server, HEALTH.replace(b"/healthz", b"/")) == (404, "404 page not found")


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (post(b"{}", head="Content-Type: text/plain\r\n"), 415, "content type 'text/plain': only application/json"),
        (post(b"{}", head=""), 415, "content type 'none'"),
        (post(b""), 400, "no AdmissionReview: Input data was truncated"),
        (post(encoded(review(uid=7))), 400, "at `$.request.uid`"),
        (HEALTH.replace(b"/healthz", b"/mutate-pod-creation"), 405, "GET is not understood here"),
        (HEALTH.replace(b"/healthz", b"/other"), 404, "404 page not found"),
        (HEALTH.replace(b"/healthz", b"/healthz/x"), 404, "404 page not found"),
        (post(b" " * 100).replace(b" 100\r", b" 3145729\r"), 413, "larger than 3145728 bytes"),
        (b"nonsense\r\n\r\n", 400, ""),
        (post(gzip.compress(sample_review()), head=JSON + "Content-Encoding: gzip\r\n"), 400, "JSON is malformed"),
    ],
)
async def test_what_is_no_review_is_refused(
    sent: bytes, status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LINGER", 0.05)
    async with serving() as server, dial(server, tls=trusting()) as dialled:
        head, _, body = (await dialled.ask(sent)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 %d " % status, b"HTTP/1.0 %d " % status))
    assert words.encode() in body
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert names[:3] == [b"Date", b"Content-Length", b"Content-Type"]
    assert b"Server" not in names


async def test_a_content_type_may_have_parameters() -> None:
    sent = post(sample_review(), head="Content-Type: application/json; charset=utf-8\r\n")
    async with serving() as server:
        assert (await ask(server, sent, tls=trusting()))[0] == 200


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 3 * 1024 * 1024 + 1])
async def test_the_limit_holds_for_bodies_of_untold_length(size: int) -> None:
    head = "POST /mutate-pod-creation HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    sent = f"{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n".encode() + b" " * size + b"\r\n0\r\n\r\n"
    async with serving() as server:
        status, _ = await ask(server, sent, tls=trusting())
    assert status == (400 if size == 3 * 1024 * 1024 else 413)


async def test_a_sender_that_waits_for_leave_gets_it() -> None:
    sent = post(sample_review(), head=JSON + "Expect: 100-continue\r\n")
    async with serving() as server, dial(server, tls=trusting()) as dialled:
        assert await dialled.ask(sent[: -len(sample_review())]) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert b" 200 OK" in await dialled.ask(sample_review())


async def test_one_connection_carries_many_reviews() -> None:
    async with serving() as server, dial(server, tls=trusting()) as dialled:
        for _ in range(20):
            assert b" 200 OK" in await dialled.ask(post(sample_review()))


async def test_old_tls_is_refused() -> None:
    old = trusting()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with serving() as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with dial(server, tls=old):
                pass


async def test_a_new_certificate_is_presented_and_open_connections_stay() -> None:
    other = Authority.create("another root")
    async with serving() as server, dial(server, tls=trusting()) as dialled:
        await dialled.ask(HEALTH)
        server.use(certificate(other))
        assert (await ask(server, HEALTH, tls=trusting(other))) == (200, "Health OK")
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(server, HEALTH, tls=trusting())
        assert b"Health OK" in await dialled.ask(HEALTH)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16\x03\x01", id="half a TLS handshake"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost", id="half a head"),
    ],
)
async def test_a_peer_that_does_not_go_on_is_closed(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 0.1)
    monkeypatch.setattr("osm_probes.http.server.HEAD_WITHIN", 0.1)
    async with serving() as server, dial(server) as dialled:
        dialled.writer.write(said)
        assert await dialled.ended()


async def test_a_head_that_drips_is_closed_also_on_a_connection_that_was_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 0.1)
    async with serving() as server, dial(server, tls=trusting()) as dialled:
        assert b"Health OK" in await dialled.ask(HEALTH)
        started = asyncio.get_running_loop().time()
        with contextlib.suppress(ConnectionError):
            for index in range(100):
                if dialled.reader.at_eof():
                    break
                dialled.writer.write(HEALTH[index % 20 : index % 20 + 1])
                await asyncio.sleep(0.02)
        assert asyncio.get_running_loop().time() - started < 1


async def test_a_good_connection_may_be_idle_longer_than_a_head_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN", 0.1)
    async with serving() as server, dial(server) as dialled:
        await dialled.ask(HEALTH)
        await asyncio.sleep(0.2)
        assert b"Health OK" in await dialled.ask(HEALTH)


async def test_a_body_that_does_not_come_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "_BODY_WITHIN", 0.1)
    monkeypatch.setattr(connection, "_LINGER", 0.05)
    async with serving() as server:
        status, words = await ask(server, post(sample_review())[:-1], tls=trusting())
    assert (status, words) == (408, "the body was not there within 0.1 s")


@pytest.mark.parametrize(
    "said", [b"\x00" * 100, b"\x16" + b"\xff" * 5000, b"\xff" * 100_000, b"\r\n" * 5000, b"G" * 100_000]
)
async def test_garbage_harms_nobody(said: bytes) -> None:
    async with serving() as server:
        async with dial(server) as dialled:
            dialled.writer.write(said)
            dialled.writer.write_eof()
            assert b"Server" not in await dialled.reader.read()
        assert await ask(server, HEALTH, tls=trusting()) == (200, "Health OK")


async def test_silent_connections_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osm_probes.http.server.HEAD_WITHIN", 60)
    async with serving(connections=8) as server, contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(dial(server)) for _ in range(40)]
        assert await ask(server, HEALTH, tls=trusting()) == (200, "Health OK")
        assert await crowd[0].ended()


async def test_a_connection_with_a_request_under_way_is_not_dropped_for_others() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        asked.set()
        await go.wait()

    async with serving(can_inject=slow, connections=4) as server, contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(dial(server))
        answer = asyncio.ensure_future(first.ask(HEALTH))
        await asked.wait()
        for _ in range(20):
            await stack.enter_async_context(dial(server))
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
    """This process can open so many more files and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_used_up_descriptors_keep_nobody_out() -> None:
    async with serving() as server:
        pipe = asyncio.subprocess.PIPE
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CROWD, str(server.port), stdin=pipe, stdout=pipe
        )
        with few_descriptors(50):
            async with asyncio.timeout(8):
                answer, _ = await crowd.communicate(b"go\n")
    assert b"Health OK" in answer


async def test_a_thousand_connections_that_close_at_once_harm_nobody() -> None:
    async with serving() as server:
        for _ in range(1000):
            socket.create_connection(("127.0.0.1", server.port)).close()
        assert await ask(server, HEALTH, tls=trusting()) == (200, "Health OK")


async def test_the_lifecycle_tells_what_the_server_is() -> None:
    lifecycle = Lifecycle("webhook")
    async with told(lifecycle) as server:
        served = lifecycle.phase
        assert lifecycle.reason == f"listening on port {server.port}"
    assert (served, lifecycle.phase) == (Phase.SERVING, Phase.STOPPED)


@contextlib.asynccontextmanager
async def told(lifecycle: Lifecycle) -> AsyncIterator[WebhookServer]:
    made = Handler(Webhook(OPTIONS, namespaces=KnownNamespaces(), within=1), can_inject=yes)
    async with WebhookServer(listen, certificate=certificate(), handler=made, lifecycle=lifecycle) as server:
        yield server


async def test_a_listener_that_is_lost_is_bound_again_and_connections_outlive_it() -> None:
    lifecycle = Lifecycle("webhook")
    async with told(lifecycle) as server, dial(server, tls=trusting()) as before:
        assert b" 200 OK" in await before.ask(HEALTH)
        port = server.port
        for _ in range(2):
            destroy_listener(port)
            await lifecycle.until(Phase.RECOVERING, within=5)
            await lifecycle.until(Phase.SERVING, within=5)
            assert await ask(server, HEALTH, tls=trusting()) == (200, "Health OK")
        assert b" 200 OK" in await before.ask(HEALTH)
    assert lifecycle.phase is Phase.STOPPED


async def test_a_port_that_another_had_for_a_moment_is_had_back() -> None:
    lifecycle = Lifecycle("webhook")
    async with told(lifecycle) as server:
        destroy_listener(server.port)
        await lifecycle.until(Phase.RECOVERING, within=5)
        with listen(server.port):
            await asyncio.sleep(0.15)
            assert lifecycle.phase is Phase.RECOVERING
        await lifecycle.until(Phase.SERVING, within=5)
        assert await ask(server, HEALTH) == (200, "Health OK")


async def test_a_stop_while_the_listener_is_lost_ends_as_any_other() -> None:
    lifecycle = Lifecycle("webhook")
    async with told(lifecycle) as server:
        destroy_listener(server.port)
        await lifecycle.until(Phase.RECOVERING, within=5)
    assert lifecycle.phase is Phase.STOPPED
    with pytest.raises(ConnectionRefusedError):
        await ask(server, HEALTH)


async def test_a_listener_that_is_lost_while_it_drains_is_no_failure() -> None:
    lifecycle = Lifecycle("webhook")
    async with told(lifecycle) as server:
        lifecycle.move(Phase.DRAINING, reason="asked to stop")
        destroy_listener(server.port)
        with pytest.raises(TimeoutError):
            await lifecycle.until(Phase.FAILED, within=0.1)
    assert lifecycle.phase is Phase.STOPPED


def slow_webhook(*, asked: asyncio.Event, go: asyncio.Event) -> Webhook:
    async def wait() -> None:
        asked.set()
        await go.wait()

    return Webhook(OPTIONS, namespaces=KnownNamespaces(bookstore=ENROLLED), within=5, store=Shelf(wait))


async def test_a_stop_finishes_what_is_in_flight_and_closes_what_is_idle() -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        async with serving(webhook=slow_webhook(asked=asked, go=go)) as server:
            busy = await stack.enter_async_context(dial(server, tls=trusting()))
            idle = await stack.enter_async_context(dial(server))
            await idle.ask(HEALTH)
            answer = asyncio.ensure_future(busy.ask(post(encoded(review()))))
            await asked.wait()
            asyncio.get_running_loop().call_later(0.1, go.set)
            started = asyncio.get_running_loop().time()
        assert 0.1 <= asyncio.get_running_loop().time() - started < 1
        assert b" 200 OK" in await answer
        assert await idle.ended()
        with pytest.raises(ConnectionRefusedError):
            await ask(server, HEALTH)


async def test_a_stop_waits_no_longer_than_its_grace() -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        async with serving(webhook=slow_webhook(asked=asked, go=go), grace=0.1) as server:
            busy = await stack.enter_async_context(dial(server, tls=trusting()))
            answer = asyncio.ensure_future(busy.ask(post(encoded(review()))))
            await asked.wait()
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 0.5
        assert await answer == b""


async def test_a_taken_port_is_an_error_of_its_own() -> None:
    async with serving() as server:
        with pytest.raises(AddressInUseError):
            listen(server.port)
