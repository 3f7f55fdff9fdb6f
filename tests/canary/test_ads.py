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
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamReset

from osm_probes.canary.ads import check_ads
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.canary_resource import STEPS
from tests.ads.fake_ads import AUTHORITY, NAME, Rpc, fake_ads, respond
from tests.certificates import server_context

FOREIGN = Authority.create("foreign")


async def unhealthy_reason(canary: AdsCanary, *, within: float = 5.0) -> str:
    """Check the ADS, which must be unhealthy. Returns the reason."""
    with pytest.raises(UnhealthyError) as caught:
        await check_ads(canary, within=within)
    return str(caught.value)


async def test_an_ads_that_sends_the_canarys_resource_is_healthy() -> None:
    async with fake_ads() as canary:
        for _ in range(3):
            await check_ads(canary, within=5)


async def test_the_server_sees_the_end_of_the_canarys_stream() -> None:
    ended = asyncio.Event()

    async def watched(requests: AsyncIterator[bytes], rpc: Rpc) -> AsyncIterator[bytes]:
        try:
            async for response in respond(requests, rpc):
                yield response
        finally:
            ended.set()

    async with fake_ads(watched) as canary:
        await check_ads(canary, within=5)
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_long_response_is_read_completely() -> None:
    async def long(requests: AsyncIterator[bytes], _: Rpc) -> AsyncIterator[bytes]:
        for step in STEPS:
            for _request in step.requests:
                await anext(requests)
            yield b"\x0a\x011" + b"x" * 200_000 + step.expected

    async with fake_ads(long) as canary:
        await check_ads(canary, within=5)


async def test_a_response_without_the_resource_is_unhealthy() -> None:
    async def other(requests: AsyncIterator[bytes], _: Rpc) -> AsyncIterator[bytes]:
        async for _request in requests:
            yield b"\x0a\x011"

    async with fake_ads(other) as canary:
        assert await unhealthy_reason(canary) == "the response of the ADS does not contain the canary's resource"


async def test_clusters_without_listeners_are_unhealthy() -> None:
    async def clusters_only(requests: AsyncIterator[bytes], _: Rpc) -> AsyncIterator[bytes]:
        async for _request in requests:
            yield b"\x0a\x011" + STEPS[0].expected

    async with fake_ads(clusters_only) as canary:
        assert await unhealthy_reason(canary) == "the response of the ADS does not contain the canary's resource"


async def test_the_status_of_an_ended_stream_is_the_reason() -> None:
    async def full(requests: AsyncIterator[bytes], rpc: Rpc) -> AsyncIterator[bytes]:
        async for _ in requests:
            rpc.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
            rpc.set_details("no pod of the mesh has the proxy 7c2d5a64 with service account shop/till")
            return
        yield b""

    async with fake_ads(full) as canary:
        with pytest.raises(UnhealthyError) as caught:
            await check_ads(canary, within=5)
    assert str(caught.value) == "the ADS ended the stream: RESOURCE_EXHAUSTED", "the text of the ADS may have names"
    assert caught.value.detail.endswith(
        "RESOURCE_EXHAUSTED: no pod of the mesh has the proxy 7c2d5a64 with service account shop/till"
    )


async def test_an_ads_that_does_not_respond_is_unhealthy_within_the_limit() -> None:
    async def silent(requests: AsyncIterator[bytes], _: Rpc) -> AsyncIterator[bytes]:
        async for _request in requests:
            await asyncio.sleep(5)
            yield b""

    async with fake_ads(silent) as canary:
        assert (await unhealthy_reason(canary, within=0.3)).startswith("no answer from 127.0.0.1:")


async def test_the_status_of_an_unknown_method_is_the_reason() -> None:
    async with fake_ads(None) as canary:
        assert (await unhealthy_reason(canary)).startswith("the ADS ended the stream: UNIMPLEMENTED")


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (FOREIGN.issue(NAME, validity=timedelta(hours=1)), "unable to get local issuer certificate"),
        (AUTHORITY.issue(NAME, validity=timedelta(seconds=-9)), "certificate has expired"),
        (AUTHORITY.issue("other.osm-system.svc", validity=timedelta(hours=1)), "Hostname mismatch"),
    ],
)
async def test_a_server_certificate_that_no_proxy_accepts_is_unhealthy(server: Certificate, reason: str) -> None:
    async with fake_ads(certificate=server) as canary:
        assert f"TLS: the server's certificate: {reason}" in await unhealthy_reason(canary)


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (FOREIGN.issue("canary", validity=timedelta(hours=1)), "TLS: "),
        (AUTHORITY.issue("canary", validity=timedelta(seconds=-9)), "TLS: "),
    ],
)
async def test_a_client_certificate_that_the_ads_rejects_is_unhealthy(own: Certificate, reason: str) -> None:
    async with fake_ads() as canary:
        reason = await unhealthy_reason(msgspec.structs.replace(canary, chain_pem=own.chain_pem, key_pem=own.key_pem))
        assert reason.startswith(reason) or "closed the connection" in reason


@pytest.mark.parametrize("wrong", [{"key_pem": FOREIGN.key_pem}, {"chain_pem": b"noise"}, {"root_pem": b""}])
async def test_unusable_credentials_are_the_reason(wrong: dict[str, bytes]) -> None:
    async with fake_ads() as canary:
        reason = await unhealthy_reason(msgspec.structs.replace(canary, **wrong))
    assert reason.startswith("the canary's own certificate cannot be used: ")


async def test_a_server_that_violates_http_2_is_unhealthy() -> None:
    async def bad(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0" * 9)  # a DATA frame for stream 0

    async with http2_server(bad) as canary:
        reason = await unhealthy_reason(canary)
    assert reason.startswith("the ADS violates HTTP/2: ")


async def test_a_server_that_sends_goaway_is_retried_once_even_if_frames_follow() -> None:
    connections = 0

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(65536)
        goaway, ping = b"\0\0\x08\x07" + b"\0" * 13, b"\0\0\x08\x06" + b"\0" * 13
        writer.write(b"\0\0\0\x04\0\0\0\0\0" + goaway + ping)
        await reader.read()
        writer.close()

    async with http2_server(closing) as canary:
        reason = await unhealthy_reason(canary)
    assert (connections, "closed the connection before its answer was complete" in reason) == (2, True)


async def test_the_canary_resets_its_stream_and_closes_its_connection() -> None:
    events_seen: list[Event] = []
    closed = asyncio.Event()

    async def respond_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = H2Connection(H2Configuration(client_side=False))
        steps = iter(STEPS)
        while data := await reader.read(65536):
            events = http.receive_data(data)
            events_seen.extend(events)
            if any(isinstance(event, RequestReceived) for event in events):
                http.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
            if any(isinstance(event, DataReceived) for event in events):
                expected = next(steps).expected
                http.send_data(1, b"\0" + len(expected).to_bytes(4, "big") + expected)
            writer.write(http.data_to_send())
        writer.close()
        closed.set()

    async with http2_server(respond_once) as canary:
        await check_ads(canary, within=5)
        await asyncio.wait_for(closed.wait(), 5)
    stream, connection = events_seen[-2:]
    assert isinstance(stream, StreamReset)
    assert isinstance(connection, ConnectionTerminated)
    assert (stream.error_code, connection.error_code) == (ErrorCodes.CANCEL, ErrorCodes.NO_ERROR)


@asynccontextmanager
async def http2_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[AdsCanary]:
    """The canary of a server with mTLS whose HTTP/2 is written by hand."""
    own = AUTHORITY.issue(NAME, validity=timedelta(hours=1))
    context = server_context(own, client_root_pem=AUTHORITY.root_pem)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with fake_ads() as canary:
        yield msgspec.structs.replace(canary, port=server.sockets[0].getsockname()[1])
    server.close()


async def test_the_private_key_is_not_written_to_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def record(context: ssl.SSLContext, certfile: str) -> None:
        paths.append(str(Path(certfile).readlink()))
        load(context, certfile)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", record)
    async with fake_ads() as canary:
        await check_ads(canary, within=5)
    assert paths == ["/memfd:canary (deleted)"]
