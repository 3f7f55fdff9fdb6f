import asyncio
import contextlib
import ssl
from dataclasses import dataclass

import grpc
import grpc.aio
import pytest

from osm_probes.ads.limits import Limits
from osm_probes.ads.traffic import grpc_peer
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import (
    AUTHORITY,
    BOOKSTORE_CERTIFICATE,
    SERVER_NAME,
    STREAM,
    final_status,
    new_proxy_certificate,
    open_channel,
    open_stream,
)
from tests.ads.messages import cluster, snapshot, sotw_request
from tests.ads.running_ads import running_ads
from tests.faults.floods import FLOODS, PREFACE
from tests.faults.identity import Credentials
from tests.faults.proxies import tls_context
from tests.log_capture import capture_logs

FEW = Limits(overhead_bytes=32 * 1024, overhead_bytes_per_second=0, request_bytes=16 * 1024)
INITIAL = snapshot(cluster("a"))
MOST = 1 << 29


@dataclass
class Flood:
    """The client of a flood. sent: bytes. ended: the server has closed the connection."""

    sent: int = 0
    ended: bool = False


async def send(flood: Flood, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a flood until the server closes the connection, or much has been sent."""
    ended = asyncio.ensure_future(discard(reader))
    try:
        writer.write(PREFACE)
        for chunk in FLOODS[kind](STREAM):
            writer.write(chunk)
            await asyncio.wait({ended, asyncio.ensure_future(drain(writer))}, return_when=asyncio.FIRST_COMPLETED)
            flood.sent += len(chunk)
            if ended.done() or flood.sent > MOST:
                break
        flood.ended = ended.done()
    finally:
        ended.cancel()
        writer.transport.abort()


async def drain(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.drain()


async def discard(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65536):
            pass


def context() -> ssl.SSLContext:
    return tls_context(Credentials(new_proxy_certificate(), AUTHORITY.root_pem))


async def flooded(port: int, kind: str) -> Flood:
    flood = Flood()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context(), server_hostname=SERVER_NAME)
    async with asyncio.timeout(60):
        await send(flood, kind, reader, writer)
    return flood


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_connection_that_floods_is_ended(kind: str) -> None:
    async with running_ads(INITIAL) as running:
        with capture_logs() as lines:
            flood = await flooded(running.server.port, kind)
        assert flood.ended
        # A flood that grpc itself does not end is named in the log.
        assert kind.startswith("empty") or "a connection is ended: its peer floods the ADS" in [
            line["event"] for line in lines
        ]


async def test_others_are_served_during_a_flood() -> None:
    async with running_ads(INITIAL) as running:
        flooding = asyncio.create_task(flooded(running.server.port, "continuation"))
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(CLUSTER))
            assert isinstance(await call.read(), bytes)
            await flooding
            assert call.done() is False


async def test_a_proxy_may_send_many_requests_on_one_stream() -> None:
    async with running_ads(INITIAL, limits=FEW) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        await call.read()
        for _ in range(40):  # 400 KB, which without the requests would be a flood
            await call.write(sotw_request(CLUSTER, "x" * 10_000))
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)
        assert call.done() is False


async def test_a_compressed_request_is_refused() -> None:
    async with running_ads(INITIAL) as running, open_channel(running.server.port, BOOKSTORE_CERTIFICATE) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(STREAM)(compression=grpc.Compression.Gzip)
        await call.write(sotw_request(CLUSTER, "x" * 10_000))
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ipv4:192.0.2.1:4711", ("192.0.2.1", 4711)),
        ("ipv6:%5B2001:db8::1%5D:4711", ("2001:db8::1", 4711)),
        ("ipv6:%5B::ffff:192.0.2.1%5D:4711", ("192.0.2.1", 4711)),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", ("fe80::1", 4711)),
    ],
)
def test_the_peers_of_grpc_are_those_of_the_kernel(text: str, peer: tuple[str, int]) -> None:
    assert grpc_peer(text) == peer


async def test_refused_streams_cause_a_bounded_number_of_log_lines() -> None:
    async with running_ads(INITIAL) as running:
        with capture_logs() as lines:
            async with open_channel(running.server.port, BOOKSTORE_CERTIFICATE) as channel:
                for _ in range(100):
                    call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(STREAM)()
                    await call.write(b"not a request")
                    assert (await final_status(call))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert 0 < len([line for line in lines if line["event"] == "a stream was ended"]) <= 20
