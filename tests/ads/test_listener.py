"""The ADS whose listening socket is destroyed behind its back."""

import asyncio
import contextlib
import socket

import grpc
import grpc.aio
import pytest

from osm_probes.ads.errors import AddressInUseError
from osm_probes.ads.limits import Limits
from osm_probes.ads.listen import ListenConfig, bind
from osm_probes.health.lifecycle import Phase
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.dial import BOOKSTORE, Ads, ads, read, server_certificate, stream
from tests.ads.messages import Sotw, asks, cluster, snapshot
from tests.subscribers import destroy_listener

WORLD = snapshot(cluster("a"))
QUICK = Limits(look_every=0.02, recover=0.5)


async def recovered(running: Ads) -> None:
    await running.lifecycle.until(Phase.RECOVERING, within=5)
    await running.lifecycle.until(Phase.SERVING, within=5)


async def is_served(running: Ads) -> None:
    async with stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        assert Sotw(await read(call)).names


async def test_a_lost_listener_is_bound_again_on_the_same_port_also_twice() -> None:
    async with ads(now=WORLD, limits=QUICK) as running:
        port = running.server.port
        for _ in range(2):
            destroy_listener(port)
            await recovered(running)
            await is_served(running)
            assert running.server.port == port


async def test_streams_outlive_their_listener_and_are_told_what_changes() -> None:
    async with ads(now=WORLD, limits=QUICK) as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        first = Sotw(await read(call))
        await call.write(asks(CLUSTER, nonce=first.nonce, version=first.version))
        destroy_listener(running.server.port)
        await recovered(running)
        running.cache.publish(BOOKSTORE, snapshot(cluster("a"), cluster("b")))
        assert Sotw(await read(call)).names == ["a", "b"]
        assert len(running.server.proxies) == 1


async def test_a_server_that_ends_by_itself_is_replaced() -> None:
    async with ads(now=WORLD, limits=QUICK) as running:
        await running.server._server.stop(None)
        await recovered(running)
        await is_served(running)


async def test_a_port_that_another_has_meanwhile_fails_the_ads() -> None:
    async with ads(now=WORLD, limits=QUICK) as running:
        destroy_listener(running.server.port)
        with socket.create_server(("127.0.0.1", running.server.port)):
            await running.lifecycle.until(Phase.RECOVERING, within=5)
            await running.lifecycle.until(Phase.FAILED, within=5)
            assert "is taken" in running.lifecycle.reason


async def test_a_port_that_another_had_for_a_moment_is_had_back() -> None:
    async with ads(now=WORLD, limits=QUICK) as running:
        destroy_listener(running.server.port)
        with socket.create_server(("127.0.0.1", running.server.port)):
            await running.lifecycle.until(Phase.RECOVERING, within=5)
        await running.lifecycle.until(Phase.SERVING, within=5)
        await is_served(running)


async def test_a_certificate_renewed_meanwhile_waits_and_is_shown_afterwards() -> None:
    async with ads(now=WORLD, limits=QUICK) as running:
        destroy_listener(running.server.port)
        await running.lifecycle.until(Phase.RECOVERING, within=5)
        await running.server.renew(server_certificate())
        assert running.lifecycle.phase is Phase.SERVING
        await is_served(running)


async def test_a_hand_over_that_takes_long_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = asyncio.Event()

    def bind_later(server: grpc.aio.Server, listen_config: ListenConfig) -> int:
        if not busy.is_set():
            raise AddressInUseError("taken")
        return bind(server, listen_config)

    async with ads(now=WORLD, limits=QUICK) as running:
        monkeypatch.setattr("osm_probes.ads.server.bind", bind_later)
        seen = running.lifecycle.phases.version
        async with asyncio.TaskGroup() as group:
            group.create_task(running.server.renew(server_certificate()))
            await asyncio.sleep(5 * QUICK.look_every)
            busy.set()
        await asyncio.sleep(5 * QUICK.look_every)
        assert running.lifecycle.phases.version == seen
        await is_served(running)


async def test_a_drain_ends_the_recovery_and_no_port_is_opened_any_more() -> None:
    async with ads(now=WORLD, limits=QUICK) as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        await read(call)
        destroy_listener(running.server.port)
        await running.lifecycle.until(Phase.RECOVERING, within=5)
        await running.server.drain(within=2)
        assert running.lifecycle.phase is Phase.STOPPED
        await asyncio.sleep(0.3)
        assert running.lifecycle.phase is Phase.STOPPED
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.server.port)


async def test_the_watch_is_no_proxy_and_opens_nothing() -> None:
    async with ads(now=WORLD, limits=Limits(look_every=0.01)) as running:
        with contextlib.suppress(TimeoutError):
            await running.lifecycle.until(Phase.RECOVERING, within=0.2)
        assert (running.server.proxies, running.counts.events) == ((), [])
        assert running.lifecycle.phase is Phase.SERVING
