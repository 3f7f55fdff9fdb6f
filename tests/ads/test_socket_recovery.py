"""The ADS when its listening socket is destroyed from outside."""

import asyncio
import contextlib
import socket

import pytest

from osm_probes.ads.limits import Limits
from osm_probes.health.lifecycle import Phase
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import BOOKSTORE, open_stream, read_message, server_certificate
from tests.ads.messages import SotwResponse, cluster, snapshot, sotw_request
from tests.ads.running_ads import RunningAds, running_ads
from tests.listening_sockets import destroy_listening_socket

INITIAL = snapshot(cluster("a"))
QUICK = Limits(socket_check=0.02, recovery=0.5)


async def recovered(running: RunningAds) -> None:
    await running.lifecycle.until(Phase.RECOVERING, within=5)
    await running.lifecycle.until(Phase.SERVING, within=5)


async def is_served(running: RunningAds) -> None:
    async with open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        assert SotwResponse(await read_message(call)).names


async def test_a_lost_socket_is_bound_again_on_the_same_port_more_than_once() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        port = running.server.port
        for _ in range(2):
            destroy_listening_socket(port)
            await recovered(running)
            await is_served(running)
            assert running.server.port == port


async def test_streams_survive_the_loss_of_the_socket_and_get_changes() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        first = SotwResponse(await read_message(call))
        await call.write(sotw_request(CLUSTER, nonce=first.nonce, version=first.version))
        destroy_listening_socket(running.server.port)
        await recovered(running)
        running.cache.publish(BOOKSTORE, snapshot(cluster("a"), cluster("b")))
        assert SotwResponse(await read_message(call)).names == ["a", "b"]
        assert len(running.server.proxies) == 1


async def test_a_server_that_stops_on_its_own_is_replaced() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        await running.server._server.stop(None)
        await recovered(running)
        await is_served(running)


async def test_a_port_that_another_process_takes_fails_the_ads() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        destroy_listening_socket(running.server.port)
        with socket.create_server(("127.0.0.1", running.server.port)):
            await running.lifecycle.until(Phase.RECOVERING, within=5)
            await running.lifecycle.until(Phase.FAILED, within=5)
            assert "is taken" in running.lifecycle.reason


async def test_a_port_that_another_process_takes_briefly_is_recovered() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        destroy_listening_socket(running.server.port)
        with socket.create_server(("127.0.0.1", running.server.port)):
            await running.lifecycle.until(Phase.RECOVERING, within=5)
        await running.lifecycle.until(Phase.SERVING, within=5)
        await is_served(running)


async def test_a_certificate_renewed_during_a_recovery_is_presented_after_it() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        destroy_listening_socket(running.server.port)
        await running.lifecycle.until(Phase.RECOVERING, within=5)
        await running.server.renew(server_certificate())
        assert running.lifecycle.phase is Phase.SERVING
        await is_served(running)


async def test_a_slow_hand_over_is_not_a_lost_socket() -> None:
    port_is_free = asyncio.Event()
    async with running_ads(INITIAL, limits=QUICK) as running:
        running.port_taken = lambda: not port_is_free.is_set()
        seen = running.lifecycle.phases.version
        async with asyncio.TaskGroup() as group:
            group.create_task(running.server.renew(server_certificate()))
            await asyncio.sleep(5 * QUICK.socket_check)
            port_is_free.set()
        await asyncio.sleep(5 * QUICK.socket_check)
        assert running.lifecycle.phases.version == seen
        await is_served(running)


async def test_a_drain_ends_the_recovery_and_opens_no_port() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        await read_message(call)
        destroy_listening_socket(running.server.port)
        await running.lifecycle.until(Phase.RECOVERING, within=5)
        await running.server.drain(within=2)
        assert running.lifecycle.phase is Phase.STOPPED
        await asyncio.sleep(0.3)
        assert running.lifecycle.phase is Phase.STOPPED
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.server.port)


async def test_the_socket_check_opens_no_connection() -> None:
    async with running_ads(INITIAL, limits=Limits(socket_check=0.01)) as running:
        with contextlib.suppress(TimeoutError):
            await running.lifecycle.until(Phase.RECOVERING, within=0.2)
        assert (running.server.proxies, running.observer.events) == ((), [])
        assert running.lifecycle.phase is Phase.SERVING
