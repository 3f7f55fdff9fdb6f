"""The ADS with a thousand streams: a drain keeps its bound, a push reaches all, a hand-over loses none."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import grpc

from osm_probes.ads.events import Event
from osm_probes.health.lifecycle import Phase
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.deaf import deaf_proxy
from tests.ads.dial import (
    BOOKSTORE,
    BOOKSTORE_CERTIFICATE,
    STREAM,
    Ads,
    Call,
    ads,
    another,
    dialled,
    ended,
    read,
    server_certificate,
    stream,
)
from tests.ads.messages import Sotw, asks, cluster, snapshot

_PROXIES = 1000


@contextlib.asynccontextmanager
async def thousand(running: Ads) -> AsyncGenerator[list[Call], None]:
    """A thousand streams that have their clusters."""
    async with contextlib.AsyncExitStack() as stack:
        calls: list[Call] = []
        for _ in range(_PROXIES):
            channel = await stack.enter_async_context(dialled(running.server.port, another()))
            calls.append(channel.stream_stream(STREAM)())
        await asyncio.gather(*(call.write(asks(CLUSTER)) for call in calls))
        for call in calls:
            answer = Sotw(await read(call))
            await call.write(asks(CLUSTER, nonce=answer.nonce, version=answer.version))
        yield calls
        for call in calls:
            call.cancel()


async def test_a_drain_ends_a_thousand_streams_cleanly_inside_its_bound() -> None:
    async with ads(now=snapshot(cluster("a"))) as running, thousand(running) as calls:
        started = time.monotonic()
        await running.server.drain(within=10)
        assert time.monotonic() - started < 10
        codes = {code for code, _ in await asyncio.gather(*map(ended, calls))}
        assert codes == {grpc.StatusCode.OK}


async def test_a_drain_keeps_its_bound_where_a_proxy_never_reads() -> None:
    large = snapshot(*(cluster(f"{number:05}" + "x" * 2000) for number in range(500)))
    async with (
        ads(now=large) as running,
        deaf_proxy(running.server.port, BOOKSTORE_CERTIFICATE, asks(CLUSTER)),
    ):
        await running.counts.until(Event.REQUESTED, times=1)
        started = time.monotonic()
        await running.server.drain(within=1)
        assert time.monotonic() - started < 2
        assert running.lifecycle.phase is Phase.STOPPED


async def test_a_hand_over_of_the_port_ends_none_of_a_thousand_streams_and_a_push_reaches_all() -> None:
    async with ads(now=snapshot(cluster("a"))) as running, thousand(running) as calls:
        started = time.monotonic()
        await running.server.renew(server_certificate())
        assert time.monotonic() - started < 1
        running.cache.publish(BOOKSTORE, snapshot(cluster("b")))
        for call in calls:
            assert "b" in Sotw(await read(call)).names
        assert running.server._streams.count == len(calls)


async def test_a_thousand_connections_closed_without_a_handshake_harm_nobody() -> None:
    async with ads(now=snapshot(cluster("a"))) as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        answer = Sotw(await read(call))
        await call.write(asks(CLUSTER, nonce=answer.nonce, version=answer.version))
        for _ in range(50):
            await asyncio.gather(*(_knock(running.server.port) for _ in range(20)))
        running.cache.publish(BOOKSTORE, snapshot(cluster("b")))
        assert "b" in Sotw(await read(call)).names
        async with stream(running.server.port, another()) as new:
            await new.write(asks(CLUSTER))
            assert Sotw(await read(new)).names == ["b"]


async def _knock(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
