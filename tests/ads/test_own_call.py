"""The ADS's calls to itself over its private port, with real grpc."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from osm_probes.ads.grpc_server import GrpcServer
from osm_probes.ads.limits import Limits
from osm_probes.ads.own_call import OwnCall
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import STREAM, final_status, open_stream, read_message, server_certificate
from tests.ads.messages import cluster, snapshot, sotw_request
from tests.ads.running_ads import RunningAds, running_ads

INITIAL = snapshot(cluster("a"))
QUICK = Limits(own_call_every=0.05)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def progresses(running: RunningAds) -> None:
    """Wait for progress that begins after now."""
    running.server.made_progress()
    await until(running.server.made_progress)


def private_ports() -> list[str]:
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sorted({line.split()[-1] for line in lines if "@osm-" in line})


async def test_an_idle_ads_makes_progress_by_its_own_calls() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        await progresses(running)


async def test_the_call_of_a_proxy_is_progress() -> None:
    async with running_ads(INITIAL, limits=Limits(own_call_every=60)) as running:
        running.server.made_progress()
        assert not running.server.made_progress()
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(CLUSTER))
            await read_message(call)
            assert running.server.made_progress()


async def test_the_server_after_a_hand_over_makes_progress() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        await running.server.renew(server_certificate())
        await progresses(running)
        await progresses(running)


async def test_an_ads_that_drains_makes_progress() -> None:
    async with running_ads(INITIAL, limits=QUICK) as running:
        await running.server.drain(within=2)
        assert running.server.made_progress()


@pytest.mark.parametrize("method", [STREAM, "/osm/Answer", "/"])
async def test_nobody_else_reaches_the_ads_by_the_private_port(method: str) -> None:
    before = private_ports()
    async with running_ads(INITIAL, limits=QUICK) as running:
        (name,) = set(private_ports()) - set(before)
        async with grpc.aio.insecure_channel(f"unix-abstract:{name[1:]}") as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(method)()
            code, _ = await final_status(call)
            call.cancel()
        assert code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED)
        assert running.server.proxies == ()


async def test_the_private_port_has_another_name_in_each_server_and_ends_with_it() -> None:
    before = private_ports()
    async with running_ads(limits=QUICK) as running:
        first = set(private_ports()) - set(before)
        await running.server.renew(server_certificate())
        await until(lambda: len(new := set(private_ports()) - set(before)) == 1 and new != first)
    assert set(private_ports()) - set(before) == set()


async def test_the_connection_of_the_own_call_outlives_the_limit_of_connections() -> None:
    server = grpc.aio.server(options=(("grpc.max_allowed_incoming_connections", 1),))
    own = OwnCall(server)
    own.bind()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    assert await own.failure(within=5) == ""
    for _, writer in others:
        writer.transport.abort()
    await server.stop(0)
    await own.close()


async def test_the_failure_of_an_own_call_says_why() -> None:
    server = GrpcServer({}, limits=Limits())
    assert (await server.failure(within=0.5)).startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED"))
    await server.stop(0)
