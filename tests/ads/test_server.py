import asyncio
import contextlib
import socket

import grpc
import grpc.aio
import pytest

from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.health.lifecycle import Phase
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot import canary_resource
from osm_probes.snapshot.cache import CANARY
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, SECRET
from tests.ads.client import (
    AUTHORITY,
    BOOKSTORE,
    BOOKSTORE_PROXY,
    CANARY_CERTIFICATE,
    DELTA,
    SERVER_CERTIFICATE,
    TRUST_DOMAIN,
    Call,
    certificate_of,
    final_status,
    new_proxy_certificate,
    open_stream,
    proxy_name,
    read_message,
)
from tests.ads.messages import (
    DeltaResponse,
    SotwResponse,
    cluster,
    delta_request,
    endpoints,
    listener,
    snapshot,
    sotw_request,
)
from tests.ads.running_ads import RunningAds, running_ads
from tests.ads.stalled_proxy import stalled_proxy

INITIAL = snapshot(cluster("a"), endpoints("a"), listener("out"))


async def test_a_proxy_gets_its_configuration_and_its_changes() -> None:
    async with running_ads(INITIAL) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        first = SotwResponse(await read_message(call))
        assert first.names == ["a"]
        await call.write(sotw_request(CLUSTER, nonce=first.nonce, version=first.version))
        running.cache.publish(BOOKSTORE, snapshot(cluster("a"), cluster("b")))
        assert SotwResponse(await read_message(call)).names == ["a", "b"]


async def test_a_proxy_gets_its_configuration_and_its_changes_incrementally() -> None:
    async with running_ads(INITIAL) as running, open_stream(running.server.port, method=DELTA) as call:
        await call.write(delta_request(CLUSTER))
        first = DeltaResponse(await read_message(call))
        assert first.names == ["a"]
        await call.write(delta_request(CLUSTER, nonce=first.nonce))
        running.cache.publish(BOOKSTORE, snapshot(cluster("a"), cluster("b")))
        assert DeltaResponse(await read_message(call)).names == ["b"]


async def test_a_stream_waits_for_the_first_snapshot() -> None:
    async with running_ads() as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await running.cache.published.after(0)
        running.cache.publish(BOOKSTORE, INITIAL)
        assert SotwResponse(await read_message(call)).names == ["a"]


async def test_the_lifecycle_is_serving_while_the_port_listens() -> None:
    async with running_ads() as running:
        phase = running.lifecycle.phase
    assert (phase, running.lifecycle.phase) == (Phase.SERVING, Phase.STOPPED)


@pytest.mark.parametrize("certificate", [None, certificate_of(BOOKSTORE_PROXY, Authority.create("other"))])
async def test_a_client_without_a_certificate_of_the_mesh_is_refused(certificate: Certificate | None) -> None:
    async with running_ads(INITIAL) as running, open_stream(running.server.port, certificate) as call:
        assert (await final_status(call))[0] is grpc.StatusCode.UNAVAILABLE
        assert Event.CONNECTED not in running.observer.events


async def test_a_certificate_that_names_no_proxy_is_refused() -> None:
    no_proxy = AUTHORITY.issue(
        "bookstore.bookstore.cluster.local", validity=SERVER_CERTIFICATE.not_after - SERVER_CERTIFICATE.not_before
    )
    async with running_ads(INITIAL) as running, open_stream(running.server.port, no_proxy) as call:
        assert await final_status(call) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "the certificate names no proxy of cluster.local",
        )


async def test_a_node_id_of_another_proxy_is_refused_and_any_other_text_is_not() -> None:
    other = proxy_name().common_name(TRUST_DOMAIN)
    async with running_ads(INITIAL) as running:
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(CLUSTER, node=other))
            assert (await final_status(call))[0] is grpc.StatusCode.PERMISSION_DENIED
        for node_id in ("anything", BOOKSTORE_PROXY.common_name(TRUST_DOMAIN)):
            async with open_stream(running.server.port) as call:
                await call.write(sotw_request(CLUSTER, node=node_id))
                assert SotwResponse(await read_message(call)).names == ["a"]


async def test_a_malformed_request_ends_only_its_own_stream() -> None:
    async with (
        running_ads(INITIAL) as running,
        open_stream(running.server.port) as good,
        open_stream(running.server.port, new_proxy_certificate()) as bad,
    ):
        await good.write(sotw_request(CLUSTER))
        await read_message(good)
        await bad.write(b"\xff\xff")
        assert await final_status(bad) == (grpc.StatusCode.INVALID_ARGUMENT, "the request is not a DiscoveryRequest")
        await good.write(sotw_request(ENDPOINTS, "a"))
        assert SotwResponse(await read_message(good)).names == ["a"]


async def test_an_oversized_request_ends_only_its_own_stream() -> None:
    async with (
        running_ads(INITIAL, limits=Limits(request_bytes=1000)) as running,
        open_stream(running.server.port) as good,
        open_stream(running.server.port, new_proxy_certificate()) as bad,
    ):
        await bad.write(b"x" * 2000)
        assert (await final_status(bad))[0] is not grpc.StatusCode.OK
        await good.write(sotw_request(CLUSTER))
        assert SotwResponse(await read_message(good)).names == ["a"]


async def test_the_text_of_an_internal_error_is_not_sent_to_the_proxy() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("secret")

    async with running_ads(INITIAL, admit=fail) as running, open_stream(running.server.port) as call:
        assert await final_status(call) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_above_the_limit_a_proxy_is_refused_with_the_reason_and_the_canary_is_not_counted() -> None:
    async with running_ads(INITIAL) as running, open_stream(running.server.port) as first:
        running.server.max_streams = 1
        await first.write(sotw_request(CLUSTER))
        await read_message(first)
        assert running.server.full
        async with open_stream(running.server.port, new_proxy_certificate()) as second:
            assert await final_status(second) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "1 proxies are connected, the most that this control plane serves",
            )
        with running.cache.subscribe(CANARY):
            running.cache.publish(CANARY, canary_resource.snapshot(None))
            async with open_stream(running.server.port, CANARY_CERTIFICATE) as call:
                await check_canary(call)
        assert running.server.max_streams == 1
        running.server.max_streams = 2
        async with open_stream(running.server.port, new_proxy_certificate()) as third:
            await third.write(sotw_request(CLUSTER))
            await read_message(third)
        assert running.observer.events.count(Event.CAPPED) == 1


async def test_a_proxy_that_reconnects_counts_once_and_its_newest_stream_is_served() -> None:
    async with running_ads(INITIAL) as running, contextlib.AsyncExitStack() as opened:
        running.server.max_streams = 2
        old = None
        for _ in range(5):
            call = await opened.enter_async_context(open_stream(running.server.port))
            await call.write(sotw_request(CLUSTER))
            assert SotwResponse(await read_message(call)).names == ["a"]
            if old is not None:
                assert await final_status(old) == (grpc.StatusCode.OK, "")
            old = call
        assert (len(running.server.proxies), running.server.full) == (1, False)
        async with open_stream(running.server.port, new_proxy_certificate()) as other:
            await other.write(sotw_request(CLUSTER))
            await read_message(other)
        assert running.observer.events.count(Event.CAPPED) == 0


async def check_canary(call: Call) -> None:
    """Send and receive what the canary does."""
    for step in canary_resource.STEPS:
        for request in step.requests:
            await call.write(request)
        assert step.expected in await read_message(call)


async def test_the_canary_waits_for_its_own_snapshot_and_causes_no_events() -> None:
    async with running_ads(INITIAL) as running, open_stream(running.server.port, CANARY_CERTIFICATE) as call:
        seen = running.cache.wanted.version
        await call.write(canary_resource.STEPS[0].requests[0])
        await running.cache.wanted.after(seen)
        assert CANARY in running.cache.waiting
        running.cache.publish(CANARY, canary_resource.snapshot(INITIAL))
        assert SotwResponse(await read_message(call)).names == ["a", canary_resource.NAME]
        assert (running.server.proxies, running.observer.events) == ((), [])


async def test_the_canary_gets_clusters_and_listeners_and_nothing_else() -> None:
    async with running_ads() as running:
        with running.cache.subscribe(CANARY):
            running.cache.publish(CANARY, canary_resource.snapshot(None))
            async with open_stream(running.server.port, CANARY_CERTIFICATE) as call:
                await check_canary(call)
                await call.write(sotw_request(SECRET))
                assert (await final_status(call))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_a_connected_proxy_is_reported_with_its_accepted_versions_and_its_last_rejection() -> None:
    async with running_ads(INITIAL) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        first = SotwResponse(await read_message(call))
        await call.write(sotw_request(CLUSTER, nonce=first.nonce, version=first.version))
        await call.write(sotw_request(LISTENER))
        second = SotwResponse(await read_message(call))
        await call.write(sotw_request(LISTENER, nonce=second.nonce, error="no such filter"))
        await call.write(sotw_request(ENDPOINTS, "a"))
        await read_message(call)
        (proxy,) = running.server.proxies
        assert (proxy.name, proxy.accepted, proxy.form) == (
            BOOKSTORE_PROXY,
            {CLUSTER: first.version},
            "StateOfTheWorld",
        )
        assert proxy.rejection is not None
        assert (proxy.rejection.version, proxy.rejection.detail) == (second.version, "no such filter")


async def test_a_rejected_version_is_counted_once_even_after_a_reconnect() -> None:
    async with running_ads(INITIAL) as running:
        for _ in range(2):
            async with open_stream(running.server.port) as call:
                await call.write(sotw_request(LISTENER))
                response = SotwResponse(await read_message(call))
                await call.write(sotw_request(LISTENER, nonce=response.nonce, error="no"))
                await call.write(sotw_request(CLUSTER))
                await read_message(call)
        events = running.observer.events
        assert [events.count(event) for event in (Event.REJECTED, Event.CONNECTED, Event.RECONNECTED)] == [1, 1, 1]


async def test_a_stream_ends_with_status_ok_at_its_maximum_age() -> None:
    async with running_ads(INITIAL, limits=Limits(stream_age=0.1)) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        assert await final_status(call) == (grpc.StatusCode.OK, "")


async def test_a_drain_ends_streams_with_status_ok_and_refuses_new_ones() -> None:
    async with running_ads(INITIAL) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        await read_message(call)
        await running.server.drain(within=2)
        assert running.lifecycle.phase is Phase.STOPPED
        assert (await final_status(call))[0] is grpc.StatusCode.OK
        async with open_stream(running.server.port) as late:
            assert (await final_status(late))[0] is grpc.StatusCode.UNAVAILABLE


async def test_connections_without_a_handshake_are_limited_and_closed() -> None:
    async with running_ads(INITIAL, limits=Limits(connections=3, handshake=0.3)) as running:
        with contextlib.ExitStack() as idle:
            for _ in range(3):
                idle.enter_context(socket.create_connection(("127.0.0.1", running.server.port)))
            await asyncio.sleep(0.05)
            async with open_stream(running.server.port) as refused:
                assert (await final_status(refused))[0] is grpc.StatusCode.UNAVAILABLE
            await asyncio.sleep(0.5)
            async with open_stream(running.server.port) as call:
                await call.write(sotw_request(CLUSTER))
                assert SotwResponse(await read_message(call)).names == ["a"]


LARGE = snapshot(*(cluster(f"{number:05}" + "x" * 2000) for number in range(500)), endpoints("a"))


async def stalled_proxies(running: RunningAds, stack: contextlib.AsyncExitStack, *, number: int) -> None:
    """Connect proxies that never read, and wait until the server has their requests."""
    for _ in range(number):
        await stack.enter_async_context(
            stalled_proxy(running.server.port, new_proxy_certificate(), sotw_request(CLUSTER))
        )
    await running.observer.until(Event.REQUESTED, times=number)


async def test_the_streams_of_proxies_that_never_read_are_ended() -> None:
    async with running_ads(LARGE, limits=Limits(write=0.3)) as running, contextlib.AsyncExitStack() as stack:
        await stalled_proxies(running, stack, number=20)
        await running.observer.until(Event.DISCONNECTED, times=20)
        assert running.observer.events.count(Event.UNSENT) == 20


async def test_proxies_that_never_read_do_not_delay_others() -> None:
    async with running_ads(LARGE, limits=Limits(write=0.9)) as running, contextlib.AsyncExitStack() as stack:
        await stalled_proxies(running, stack, number=20)
        async with open_stream(running.server.port) as good, asyncio.timeout(0.6):
            await good.write(sotw_request(ENDPOINTS, "a"))
            assert SotwResponse(await read_message(good)).names == ["a"]
        await running.observer.until(Event.DISCONNECTED, times=21)
