import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import msgspec
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, StreamReset

from osm_probes.ads.canary_resource import EXPECTED
from osm_probes.canary.ads import ask_ads
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from tests.ads.small import AUTHORITY, NAME, Context, answering, small_ads
from tests.certificates import server_context

FOREIGN = Authority.create("foreign")


async def says_no(dialled: AdsCanary, *, within: float = 5.0) -> str:
    """The reason of a no."""
    with pytest.raises(UnhealthyError) as caught:
        await ask_ads(dialled, within=within)
    return str(caught.value)


async def test_an_ads_that_gives_the_canary_its_resource_says_yes() -> None:
    async with small_ads() as dialled:
        for _ in range(3):
            await ask_ads(dialled, within=5)


async def test_its_stream_is_gone_for_the_server_as_well() -> None:
    ended = asyncio.Event()

    async def watched(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            async for each in answering(requests, context):
                yield each
        finally:
            ended.set()

    async with small_ads(watched) as dialled:
        await ask_ads(dialled, within=5)
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_long_answer_is_read_to_its_end() -> None:
    async def long(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield b"\x0a\x011" + b"x" * 200_000 + EXPECTED

    async with small_ads(long) as dialled:
        await ask_ads(dialled, within=5)


async def test_another_answer_is_a_no() -> None:
    async def other(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield b"\x0a\x011"

    async with small_ads(other) as dialled:
        assert await says_no(dialled) == "the ADS answers without the canary's resource"


async def test_a_stream_that_is_ended_tells_its_status() -> None:
    async def full(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
            context.set_details("1000 of 1000 proxies")
            return
        yield b""

    async with small_ads(full) as dialled:
        assert await says_no(dialled) == "the ADS ended the stream: RESOURCE_EXHAUSTED: 1000 of 1000 proxies"


async def test_an_ads_that_stays_silent_is_a_no_within_the_limit() -> None:
    async def silent(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            await asyncio.sleep(5)
            yield b""

    async with small_ads(silent) as dialled:
        assert (await says_no(dialled, within=0.3)).startswith("no answer from 127.0.0.1:")


async def test_an_unknown_method_tells_its_status() -> None:
    async with small_ads(None) as dialled:
        assert (await says_no(dialled)).startswith("the ADS ended the stream: UNIMPLEMENTED")


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (FOREIGN.issue(NAME, validity=timedelta(hours=1)), "unable to get local issuer certificate"),
        (AUTHORITY.issue(NAME, validity=timedelta(seconds=-9)), "certificate has expired"),
        (AUTHORITY.issue("other.osm-system.svc", validity=timedelta(hours=1)), "Hostname mismatch"),
    ],
)
async def test_an_ads_that_no_proxy_would_trust_is_a_no(server: Certificate, reason: str) -> None:
    async with small_ads(certificate=server) as dialled:
        assert f"TLS: the server's certificate: {reason}" in await says_no(dialled)


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (FOREIGN.issue("canary", validity=timedelta(hours=1)), "TLS: "),
        (AUTHORITY.issue("canary", validity=timedelta(seconds=-9)), "TLS: "),
    ],
)
async def test_a_canary_that_the_ads_does_not_trust_is_a_no(own: Certificate, reason: str) -> None:
    async with small_ads() as dialled:
        said = await says_no(msgspec.structs.replace(dialled, chain_pem=own.chain_pem, key_pem=own.key_pem))
        assert said.startswith(reason) or "closed the connection" in said


@pytest.mark.parametrize("wrong", [{"key_pem": FOREIGN.key_pem}, {"chain_pem": b"noise"}, {"root_pem": b""}])
async def test_credentials_that_cannot_be_used_are_said(wrong: dict[str, bytes]) -> None:
    async with small_ads() as dialled:
        said = await says_no(msgspec.structs.replace(dialled, **wrong))
    assert said.startswith("the canary's own certificate cannot be used: ")


async def test_a_server_that_speaks_bad_http_2_is_a_no() -> None:
    async def bad(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0" * 9)  # data that belongs to no stream

    async with by_hand(bad) as dialled:
        said = await says_no(dialled)
    assert said.startswith("the ADS breaks the rules of HTTP/2: ")


async def test_a_server_that_takes_leave_is_asked_once_more_also_where_it_says_more_after_that() -> None:
    dials = 0

    async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dials
        dials += 1
        await reader.read(65536)
        goodbye, ping = b"\0\0\x08\x07" + b"\0" * 13, b"\0\0\x08\x06" + b"\0" * 13
        writer.write(b"\0\0\0\x04\0\0\0\0\0" + goodbye + ping)
        await reader.read()
        writer.close()

    async with by_hand(leaving) as dialled:
        said = await says_no(dialled)
    assert (dials, "closed the connection before its answer was complete" in said) == (2, True)


async def test_it_takes_leave_of_the_stream_and_of_the_connection() -> None:
    heard: list[Event] = []
    left = asyncio.Event()

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = H2Connection(H2Configuration(client_side=False))
        while data := await reader.read(65536):
            events = http.receive_data(data)
            heard.extend(events)
            if any(isinstance(event, DataReceived) for event in events):
                http.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
                http.send_data(1, b"\0" + len(EXPECTED).to_bytes(4, "big") + EXPECTED)
            writer.write(http.data_to_send())
        writer.close()
        left.set()

    async with by_hand(answer_once) as dialled:
        await ask_ads(dialled, within=5)
        await asyncio.wait_for(left.wait(), 5)
    stream, connection = heard[-2:]
    assert isinstance(stream, StreamReset)
    assert isinstance(connection, ConnectionTerminated)
    assert (stream.error_code, connection.error_code) == (ErrorCodes.CANCEL, ErrorCodes.NO_ERROR)


@asynccontextmanager
async def by_hand(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[AdsCanary]:
    """How to dial a server with mTLS that speaks HTTP/2 by hand."""
    own = AUTHORITY.issue(NAME, validity=timedelta(hours=1))
    context = server_context(own, client_root_pem=AUTHORITY.root_pem)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with small_ads() as dialled:
        yield msgspec.structs.replace(dialled, port=server.sockets[0].getsockname()[1])
    server.close()


async def test_no_key_is_written_to_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def seen(context: ssl.SSLContext, certfile: str) -> None:
        paths.append(str(Path(certfile).readlink()))
        load(context, certfile)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", seen)
    async with small_ads() as dialled:
        await ask_ads(dialled, within=5)
    assert paths == ["/memfd:canary (deleted)"]
