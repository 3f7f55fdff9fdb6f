"""Proxies that do not answer a response, over real connections."""

import asyncio
from collections.abc import Callable

import grpc
import pytest

from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER
from tests.ads.client import BOOKSTORE, DELTA, STREAM, Call, final_status, open_stream, read_message
from tests.ads.messages import DeltaResponse, SotwResponse, cluster, delta_request, listener, snapshot, sotw_request
from tests.ads.running_ads import running_ads

INITIAL = snapshot(cluster("a"), listener("out"))
SOON = Limits(unanswered=0.4, stream_check=0.1)


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def subscribe(call: Call, type_url: str, *, method: str) -> None:
    """Subscribe, and take the response without an answer."""
    await call.write(delta_request(type_url) if method == DELTA else sotw_request(type_url))
    await read_message(call)


@pytest.mark.parametrize("method", [STREAM, DELTA])
async def test_a_stream_with_an_unanswered_response_ends_with_status_ok(method: str) -> None:
    async with running_ads(INITIAL, limits=SOON) as running, open_stream(running.server.port, method=method) as call:
        await subscribe(call, LISTENER, method=method)
        assert await final_status(call) == (grpc.StatusCode.OK, "")
        assert running.observer.events.count(Event.STUCK_ENDED) == 1


async def test_an_answer_to_another_type_does_not_count_as_an_answer() -> None:
    async with running_ads(INITIAL, limits=SOON) as running, open_stream(running.server.port, method=DELTA) as call:
        await call.write(delta_request(CLUSTER))
        clusters = DeltaResponse(await read_message(call))
        await call.write(delta_request(CLUSTER, nonce=clusters.nonce))
        await call.write(delta_request(LISTENER))
        listeners = DeltaResponse(await read_message(call))
        await call.write(delta_request(CLUSTER, nonce=listeners.nonce))
        assert await final_status(call) == (grpc.StatusCode.OK, "")


async def test_a_stream_whose_responses_are_answered_stays_open() -> None:
    async with running_ads(INITIAL, limits=SOON) as running, open_stream(running.server.port) as call:
        await call.write(sotw_request(CLUSTER))
        for number in range(8):
            response = SotwResponse(await read_message(call))
            await call.write(sotw_request(CLUSTER, nonce=response.nonce, error="no" if number % 2 else None))
            await asyncio.sleep(0.2)
            running.cache.publish(BOOKSTORE, snapshot(cluster("a", number + 2)))
        assert running.observer.events.count(Event.STUCK_ENDED) == 0


async def test_a_proxy_that_never_answers_is_ended_twice_and_then_shown_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("osm_probes.ads.stream_monitor._MINUTE", 0.5)
    async with running_ads(INITIAL, limits=SOON) as running:
        for _ in range(2):
            async with open_stream(running.server.port) as call:
                await subscribe(call, LISTENER, method=STREAM)
                assert (await final_status(call))[0] is grpc.StatusCode.OK
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(LISTENER))
            response = SotwResponse(await read_message(call))
            await until(lambda: running.server.registry.monitor.stuck == {LISTENER: 1})
            ((stuck,),) = [proxy.stuck for proxy in running.server.proxies]
            assert (stuck.type_url, stuck.version) == (LISTENER, response.version)
            assert running.observer.events.count(Event.STUCK_ENDED) == 2
            await call.write(sotw_request(LISTENER, nonce=response.nonce))
            await until(lambda: running.server.proxies[0].stuck == ())
            await until(lambda: running.server.registry.monitor.stuck == {})


async def test_a_proxy_that_rejects_is_on_an_old_configuration_until_it_accepts_even_over_a_reconnect() -> None:
    async with running_ads(INITIAL) as running:
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(LISTENER))
            first = SotwResponse(await read_message(call))
            await call.write(sotw_request(LISTENER, nonce=first.nonce, error="bad\n\x1b[31m" + "x" * 5000))
            await until(lambda: running.server.proxies[0].rejecting)
            (rejection,) = running.server.proxies[0].rejecting
            assert rejection.detail.startswith("bad  [31mxxx")
            assert len(rejection.detail) == 500
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(LISTENER))
            again = SotwResponse(await read_message(call))
            await call.write(sotw_request(LISTENER, nonce=again.nonce, error="still bad"))
            await until(lambda: running.server.proxies and running.server.proxies[0].rejection)
            assert [one.since for one in running.server.proxies[0].rejecting] == [rejection.since]
            running.cache.publish(BOOKSTORE, snapshot(cluster("a"), listener("out", 2)))
            fixed = SotwResponse(await read_message(call))
            await call.write(sotw_request(LISTENER, nonce=fixed.nonce, version=fixed.version))
            await until(lambda: running.server.proxies[0].rejecting == ())


async def test_a_proxy_that_reconnects_with_the_right_version_no_longer_rejects() -> None:
    good = snapshot(listener("out"))
    async with running_ads(good) as running:
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(LISTENER))
            first = SotwResponse(await read_message(call))
            await call.write(sotw_request(LISTENER, nonce=first.nonce, version=first.version))
            running.cache.publish(BOOKSTORE, snapshot(listener("out", 2)))
            bad = SotwResponse(await read_message(call))
            await call.write(sotw_request(LISTENER, nonce=bad.nonce, error="no"))
            await until(lambda: running.server.proxies[0].rejecting)
        running.cache.publish(BOOKSTORE, good)
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(LISTENER, version=first.version))
            await until(lambda: running.server.proxies and running.server.proxies[0].rejecting == ())
