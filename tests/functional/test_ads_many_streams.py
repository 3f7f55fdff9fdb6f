"""The ADS with 1,000 streams: a drain keeps its time limit, an update reaches all, a port hand-over ends none."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import grpc

from osm_probes.ads.events import Event
from osm_probes.health.lifecycle import Phase
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import (
    BOOKSTORE,
    BOOKSTORE_CERTIFICATE,
    STREAM,
    Call,
    final_status,
    new_proxy_certificate,
    open_channel,
    open_stream,
    read_message,
    server_certificate,
)
from tests.ads.messages import SotwResponse, cluster, snapshot, sotw_request
from tests.ads.running_ads import RunningAds, running_ads
from tests.ads.stalled_proxy import stalled_proxy

_PROXIES = 1000


@contextlib.asynccontextmanager
async def thousand_streams(running: RunningAds) -> AsyncGenerator[list[Call], None]:
    """A thousand streams, each of which has acknowledged its clusters."""
    async with contextlib.AsyncExitStack() as stack:
        calls: list[Call] = []
        for _ in range(_PROXIES):
            channel = await stack.enter_async_context(open_channel(running.server.port, new_proxy_certificate()))
            calls.append(channel.stream_stream(STREAM)())
        await asyncio.gather(*(call.write(sotw_request(CLUSTER)) for call in calls))
        for call in calls:
            response = SotwResponse(await read_message(call))
            await call.write(sotw_request(CLUSTER, nonce=response.nonce, version=response.version))
        yield calls
        for call in calls:
            call.cancel()


async def test_a_drain_ends_a_thousand_streams_with_status_ok_within_its_limit() -> None:
    async with running_ads(snapshot(cluster("a"))) as running, thousand_streams(running) as calls:
        started = time.monotonic()
        await running.server.drain(within=10)
        assert time.monotonic() - started < 10
        codes = {code for code, _ in await asyncio.gather(*map(final_status, calls))}
        assert codes == {grpc.StatusCode.OK}


async def test_a_drain_keeps_its_limit_if_a_proxy_never_reads() -> None:
    large = snapshot(*(cluster(f"{number:05}" + "x" * 2000) for number in range(500)))
    async with (
        running_ads(large) as running,
        stalled_proxy(running.server.port, BOOKSTORE_CERTIFICATE, sotw_request(CLUSTER)),
    ):
        await running.observer.until(Event.REQUESTED, times=1)
        started = time.monotonic()
        await running.server.drain(within=1)
        assert time.monotonic() - started < 2
        assert running.lifecycle.phase is Phase.STOPPED


async def test_a_port_hand_over_ends_none_of_a_thousand_streams_and_an_update_reaches_all() -> None:
    async with running_ads(snapshot(cluster("a"))) as running, thousand_streams(running) as calls:
        started = time.monotonic()
        await running.server.renew(server_certificate())
        assert time.monotonic() - started < 1
        running.cache.publish(BOOKSTORE, snapshot(cluster("b")))
        for call in calls:
            assert "b" in SotwResponse(await read_message(call)).names
        assert len(running.server.proxies) == len(calls)


async def test_a_thousand_connections_closed_before_the_handshake_do_not_disturb_streams() -> None:
    async with running_ads(snapshot(cluster("a"))) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        response = SotwResponse(await read_message(call))
        await call.write(sotw_request(CLUSTER, nonce=response.nonce, version=response.version))
        for _ in range(50):
            await asyncio.gather(*(_connect_and_close(running.server.port) for _ in range(20)))
        running.cache.publish(BOOKSTORE, snapshot(cluster("b")))
        assert "b" in SotwResponse(await read_message(call)).names
        async with open_stream(running.server.port, new_proxy_certificate()) as new:
            await new.write(sotw_request(CLUSTER))
            assert SotwResponse(await read_message(new)).names == ["b"]


async def _connect_and_close(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
