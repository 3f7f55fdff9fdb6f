"""Before a peer is admitted nothing is done for it, and it changes nothing for others."""

import asyncio
from collections.abc import Callable

import grpc

from osm_probes.ads.errors import MeshUnknownError, NotAdmittedError
from osm_probes.ads.events import Event
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import (
    BOOKSTORE,
    BOOKSTORE_CERTIFICATE,
    BOOKSTORE_PROXY,
    certificate_of,
    final_status,
    open_stream,
    proxy_name,
    read_message,
)
from tests.ads.messages import SotwResponse, cluster, snapshot, sotw_request
from tests.ads.running_ads import RunningAds, running_ads

INITIAL = snapshot(cluster("a"))
STRANGER = Identity("bookstore", "stranger")


class Pods:
    """An `admit` for a mesh with these proxies; None: the mesh is not known yet."""

    def __init__(self, *proxies: ProxyName) -> None:
        self.proxies: set[ProxyName] | None = set(proxies)

    def __call__(self, name: ProxyName) -> None:
        if self.proxies is None:
            raise MeshUnknownError("the mesh is not read yet")
        if name not in self.proxies:
            raise NotAdmittedError(f"no pod has the proxy {name.uuid}")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


def waiting(running: RunningAds) -> int:
    """The number of peers that wait for the mesh."""
    return len(running.server.registry._waiting)


async def test_a_peer_that_is_not_admitted_is_refused_and_leaves_no_trace() -> None:
    stranger = proxy_name(identity=STRANGER)
    async with running_ads(INITIAL) as running:
        subscribed = running.cache.subscribed.version
        async with open_stream(running.server.port, certificate_of(stranger)) as call:
            assert await final_status(call) == (
                grpc.StatusCode.PERMISSION_DENIED,
                f"no pod has the proxy {stranger.uuid}",
            )
        # A subscription would have a snapshot built, and a workload certificate issued.
        assert running.cache.subscribed.version == subscribed
        assert (running.observer.events, len(running.server.registry._known)) == ([], 0)


async def test_a_refused_peer_with_the_uuid_of_a_proxy_does_not_end_its_stream() -> None:
    impostor = ProxyName(BOOKSTORE_PROXY.uuid, SIDECAR, STRANGER)
    async with running_ads(INITIAL) as running, open_stream(running.server.port) as victim:
        await victim.write(sotw_request(CLUSTER))
        first = SotwResponse(await read_message(victim))
        await victim.write(sotw_request(CLUSTER, nonce=first.nonce, version=first.version))
        for _ in range(3):
            async with open_stream(running.server.port, certificate_of(impostor)) as call:
                assert (await final_status(call))[0] is grpc.StatusCode.PERMISSION_DENIED
        running.cache.publish(BOOKSTORE, snapshot(cluster("a"), cluster("b")))
        assert SotwResponse(await read_message(victim)).names == ["a", "b"]
        assert running.observer.events.count(Event.DISCONNECTED) == 0


async def test_while_the_mesh_is_unknown_peers_wait_and_then_are_admitted_or_refused() -> None:
    stranger = proxy_name(identity=STRANGER)
    pods = Pods()
    pods.proxies = None
    async with (
        running_ads(INITIAL, admit=pods) as running,
        open_stream(running.server.port) as good,
        open_stream(running.server.port, certificate_of(stranger)) as bad,
    ):
        await good.write(sotw_request(CLUSTER))
        await until(lambda: waiting(running) == 2)
        await running.server.recheck()
        assert (running.server.proxies, running.observer.events) == ((), [])
        pods.proxies = {BOOKSTORE_PROXY}
        await running.server.recheck()
        assert SotwResponse(await read_message(good)).names == ["a"]
        assert (await final_status(bad))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert waiting(running) == 0


async def test_a_peer_that_waits_for_the_mesh_and_disconnects_is_forgotten() -> None:
    pods = Pods()
    pods.proxies = None
    async with running_ads(INITIAL, admit=pods) as running:
        async with open_stream(running.server.port):
            await until(lambda: waiting(running) == 1)
        await until(lambda: waiting(running) == 0)


async def test_a_drain_ends_peers_that_wait_for_the_mesh() -> None:
    pods = Pods()
    pods.proxies = None
    async with running_ads(INITIAL, admit=pods) as running, open_stream(running.server.port) as call:
        await until(lambda: waiting(running) == 1)
        await running.server.drain(within=5)
        assert await final_status(call) == (grpc.StatusCode.UNAVAILABLE, "this control plane is stopping")


async def test_a_proxy_that_leaves_the_mesh_before_its_first_snapshot_is_ended() -> None:
    pods = Pods(BOOKSTORE_PROXY)
    async with (
        running_ads(admit=pods) as running,
        open_stream(running.server.port, BOOKSTORE_CERTIFICATE) as call,
    ):
        await call.write(sotw_request(CLUSTER))
        await running.observer.until(Event.REQUESTED, times=1)
        pods.proxies = set()
        await running.server.recheck()
        assert (await final_status(call))[0] is grpc.StatusCode.PERMISSION_DENIED
