import asyncio
import contextlib
import socket
import time

import grpc
import grpc.aio
import pytest

from osm_probes.ads import canary_resource
from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.errors import AddressInUseError, CredentialsError, ListenError
from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.ads.listen import ListenConfig, bind
from osm_probes.ads.server import AdsServer
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.mesh.identity import CANARY, Identity
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER
from tests.ads.deaf import deaf_proxy
from tests.ads.dial import (
    AUTHORITY,
    BOOKSTORE,
    BOOKSTORE_PROXY,
    DELTA,
    SERVER_NAME,
    SHOWN,
    TRUST_DOMAIN,
    Ads,
    ads,
    another,
    certificate_of,
    ended,
    proxy_name,
    read,
    refuses_strangers,
    server_certificate,
    stream,
)
from tests.ads.messages import Delta, Sotw, asks, changes, cluster, endpoints, listener, snapshot

WORLD = snapshot(cluster("a"), endpoints("a"), listener("out"))


def server_at(port: int, certificate: Certificate = SHOWN, *, host: str = "127.0.0.1") -> AdsServer:
    listen_config = ListenConfig(port, certificate, AUTHORITY.root_pem, host)
    return AdsServer(
        Lifecycle("ads"),
        SnapshotCache(),
        authenticator=Authenticator(TRUST_DOMAIN, refuses_strangers),
        listen_config=listen_config,
    )


async def test_a_proxy_gets_its_configuration_and_its_changes() -> None:
    async with ads(now=WORLD) as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        first = Sotw(await read(call))
        assert first.names == ["a"]
        await call.write(asks(CLUSTER, nonce=first.nonce, version=first.version))
        running.cache.publish(BOOKSTORE, snapshot(cluster("a"), cluster("b")))
        assert Sotw(await read(call)).names == ["a", "b"]


async def test_a_proxy_gets_the_incremental_form_too() -> None:
    async with ads(now=WORLD) as running, stream(running.server.port, method=DELTA) as call:
        await call.write(changes(CLUSTER))
        first = Delta(await read(call))
        assert first.names == ["a"]
        await call.write(changes(CLUSTER, nonce=first.nonce))
        running.cache.publish(BOOKSTORE, snapshot(cluster("a"), cluster("b")))
        assert Delta(await read(call)).names == ["b"]


async def test_a_stream_waits_for_the_first_snapshot() -> None:
    async with ads() as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await running.cache.published.after(0)
        running.cache.publish(BOOKSTORE, WORLD)
        assert Sotw(await read(call)).names == ["a"]


async def test_the_lifecycle_follows_the_listener() -> None:
    async with ads() as running:
        served = running.lifecycle.phase
    assert (served, running.lifecycle.phase) == (Phase.SERVING, Phase.STOPPED)


async def test_a_taken_port_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressInUseError, match=f"port {port} of the ADS is taken"):
            async with server_at(port).serving():
                pass


async def test_two_servers_cannot_share_a_port() -> None:
    async with ads() as running:
        with pytest.raises(AddressInUseError):
            async with server_at(running.server.port).serving():
                pass


async def test_an_unusable_certificate_is_told_as_such() -> None:
    broken = Certificate("x", b"no", b"no", SHOWN.not_before, SHOWN.not_after)
    with pytest.raises(CredentialsError):
        async with server_at(0, broken).serving():
            pass


async def test_an_address_of_another_machine_is_told_as_such() -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        async with server_at(0, host="192.0.2.1").serving():
            pass


async def test_without_a_host_it_listens_on_ipv4_and_ipv6() -> None:
    async with server_at(0, host="").serving() as server:
        for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            _, writer = await asyncio.open_connection(host, server.port)
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("certificate", [None, certificate_of(BOOKSTORE_PROXY, Authority.create("other"))])
async def test_without_a_certificate_of_the_mesh_nobody_gets_in(certificate: Certificate | None) -> None:
    async with ads(now=WORLD) as running, stream(running.server.port, certificate) as call:
        assert (await ended(call))[0] is grpc.StatusCode.UNAVAILABLE
        assert Event.CONNECTED not in running.counts.events


async def test_a_certificate_that_names_no_proxy_is_refused() -> None:
    nobody = AUTHORITY.issue("bookstore.bookstore.cluster.local", validity=SHOWN.not_after - SHOWN.not_before)
    async with ads(now=WORLD) as running, stream(running.server.port, nobody) as call:
        assert await ended(call) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "the certificate names no proxy of cluster.local",
        )


async def test_a_proxy_that_the_mesh_does_not_know_is_refused() -> None:
    stranger = proxy_name(identity=Identity("bookstore", "stranger"))
    async with ads() as running, stream(running.server.port, certificate_of(stranger)) as call:
        await call.write(asks(CLUSTER))
        while stranger.identity not in running.cache.wanted.value:
            await running.cache.wanted.after(running.cache.wanted.version)
        running.cache.publish(stranger.identity, WORLD)
        assert await ended(call) == (grpc.StatusCode.PERMISSION_DENIED, f"no pod has the proxy {stranger.uuid}")


async def test_a_node_id_of_another_proxy_is_refused_and_any_other_word_is_not() -> None:
    other = proxy_name().common_name(TRUST_DOMAIN)
    async with ads(now=WORLD) as running:
        async with stream(running.server.port) as call:
            await call.write(asks(CLUSTER, node=other))
            assert (await ended(call))[0] is grpc.StatusCode.PERMISSION_DENIED
        for node in ("anything", BOOKSTORE_PROXY.common_name(TRUST_DOMAIN)):
            async with stream(running.server.port) as call:
                await call.write(asks(CLUSTER, node=node))
                assert Sotw(await read(call)).names == ["a"]


async def test_a_malformed_request_ends_its_stream_and_nobody_elses() -> None:
    async with (
        ads(now=WORLD) as running,
        stream(running.server.port) as good,
        stream(running.server.port, another()) as bad,
    ):
        await good.write(asks(CLUSTER))
        await read(good)
        await bad.write(b"\xff\xff")
        assert await ended(bad) == (grpc.StatusCode.INVALID_ARGUMENT, "the request is no DiscoveryRequest")
        await good.write(asks(ENDPOINTS, "a"))
        assert Sotw(await read(good)).names == ["a"]


async def test_an_oversized_request_ends_its_stream_and_nobody_elses() -> None:
    async with (
        ads(now=WORLD, limits=Limits(request_bytes=1000)) as running,
        stream(running.server.port) as good,
        stream(running.server.port, another()) as bad,
    ):
        await bad.write(b"x" * 2000)
        assert (await ended(bad))[0] is not grpc.StatusCode.OK
        await good.write(asks(CLUSTER))
        assert Sotw(await read(good)).names == ["a"]


async def test_a_fault_of_ours_is_not_told_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("secret")

    async with ads(now=WORLD) as running, stream(running.server.port) as call:
        monkeypatch.setattr("osm_probes.ads.stream.Stream._note", breaks)
        await call.write(asks(CLUSTER))
        assert await ended(call) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_above_the_cap_a_proxy_is_told_so_and_the_canary_is_not_counted() -> None:
    canary = certificate_of(proxy_name(CANARY))
    async with ads(now=WORLD) as running, stream(running.server.port) as first:
        running.server.max_streams = 1
        await first.write(asks(CLUSTER))
        await read(first)
        assert running.server.full
        async with stream(running.server.port, another()) as second:
            assert await ended(second) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "1 proxies are connected, the most that this control plane serves",
            )
        async with stream(running.server.port, canary) as call:
            await call.write(canary_resource.REQUEST)
            assert canary_resource.EXPECTED in await read(call)
        assert running.server.max_streams == 1
        running.server.max_streams = 2
        async with stream(running.server.port, another()) as third:
            await third.write(asks(CLUSTER))
            await read(third)
        assert running.counts.events.count(Event.CAPPED) == 1


async def test_a_proxy_cannot_take_the_places_of_others_and_its_newest_stream_is_served() -> None:
    async with ads(now=WORLD) as running, contextlib.AsyncExitStack() as opened:
        running.server.max_streams = 2
        older = None
        for _ in range(5):
            call = await opened.enter_async_context(stream(running.server.port))
            await call.write(asks(CLUSTER))
            assert Sotw(await read(call)).names == ["a"]
            if older is not None:
                assert await ended(older) == (grpc.StatusCode.OK, "")
            older = call
        assert (len(running.server.proxies), running.server.full) == (1, False)
        async with stream(running.server.port, another()) as other:
            await other.write(asks(CLUSTER))
            await read(other)
        assert running.counts.events.count(Event.CAPPED) == 0


async def test_the_canary_needs_no_snapshot_and_counts_in_no_figure() -> None:
    async with ads() as running, stream(running.server.port, certificate_of(proxy_name(CANARY))) as call:
        await call.write(canary_resource.REQUEST)
        answer = await read(call)
        assert canary_resource.EXPECTED in answer
        assert Sotw(answer).names == [canary_resource.NAME]
        assert (running.server.proxies, running.counts.events) == ((), [])


async def test_the_canary_may_ask_for_nothing_else() -> None:
    async with ads() as running, stream(running.server.port, certificate_of(proxy_name(CANARY))) as call:
        await call.write(asks(LISTENER))
        assert (await ended(call))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_what_is_known_of_a_connected_proxy() -> None:
    async with ads(now=WORLD) as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        first = Sotw(await read(call))
        await call.write(asks(CLUSTER, nonce=first.nonce, version=first.version))
        await call.write(asks(LISTENER))
        second = Sotw(await read(call))
        await call.write(asks(LISTENER, nonce=second.nonce, error="no such filter"))
        await call.write(asks(ENDPOINTS, "a"))
        await read(call)
        (known,) = running.server.proxies
        assert (known.name, known.accepted, known.form) == (
            BOOKSTORE_PROXY,
            {CLUSTER: first.version},
            "StateOfTheWorld",
        )
        assert known.rejection is not None
        assert (known.rejection.version, known.rejection.detail) == (second.version, "no such filter")


async def test_a_rejection_is_counted_once_also_when_the_proxy_comes_again() -> None:
    async with ads(now=WORLD) as running:
        for _ in range(2):
            async with stream(running.server.port) as call:
                await call.write(asks(LISTENER))
                answer = Sotw(await read(call))
                await call.write(asks(LISTENER, nonce=answer.nonce, error="no"))
                await call.write(asks(CLUSTER))
                await read(call)
        events = running.counts.events
        assert [events.count(each) for each in (Event.REJECTED, Event.CONNECTED, Event.RECONNECTED)] == [1, 1, 1]


async def test_a_stream_ends_cleanly_at_its_age() -> None:
    async with ads(now=WORLD, limits=Limits(stream_age=0.1)) as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        assert await ended(call) == (grpc.StatusCode.OK, "")


async def test_a_renewed_certificate_is_shown_to_new_connections_and_old_streams_live_on() -> None:
    renewed = server_certificate()
    async with ads(now=WORLD) as running, stream(running.server.port) as old:
        await old.write(asks(CLUSTER))
        first = Sotw(await read(old))
        for certificate in (server_certificate(), renewed):
            await running.server.renew(certificate)
        async with stream(running.server.port, another()) as new:
            await new.write(asks(CLUSTER))
            assert Sotw(await read(new)).names == ["a"]
        assert await asyncio.to_thread(_shown, running.server.port) == renewed.chain_pem
        await old.write(asks(CLUSTER, nonce=first.nonce, version=first.version))
        running.cache.publish(BOOKSTORE, snapshot(cluster("a", 2)))
        assert Sotw(await read(old)).version != first.version
        assert running.lifecycle.phase is Phase.SERVING


def _shown(port: int) -> bytes:
    """The certificate that a new connection sees."""
    import ssl  # noqa: PLC0415 - used here alone

    context = ssl.create_default_context(cadata=AUTHORITY.root_pem.decode())
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        context.wrap_socket(connection, server_hostname=SERVER_NAME) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).encode()


async def test_a_certificate_renewed_while_the_ads_drains_opens_no_port() -> None:
    async with ads() as running:
        await running.server.drain(within=2)
        await running.server.renew(server_certificate())
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.server.port)
        assert running.lifecycle.phase is Phase.STOPPED


async def test_a_port_that_is_free_a_little_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = 3

    def bind_later(server: grpc.aio.Server, listen_config: ListenConfig) -> int:
        nonlocal busy
        busy -= 1
        if busy:
            raise AddressInUseError("taken")
        return bind(server, listen_config)

    async with ads() as running:
        monkeypatch.setattr("osm_probes.ads.server.bind", bind_later)
        await running.server.renew(server_certificate())
        assert (busy, running.lifecycle.phase) == (0, Phase.SERVING)


async def test_a_port_that_is_not_had_back_in_a_hand_over_is_had_back_as_a_lost_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ads() as running:

        def bind_late(server: grpc.aio.Server, listen_config: ListenConfig) -> int:
            if running.lifecycle.phase is Phase.SERVING:
                raise AddressInUseError("taken")
            return bind(server, listen_config)

        monkeypatch.setattr("osm_probes.ads.server.bind", bind_late)
        monkeypatch.setattr("osm_probes.ads.server._HAND_OVER_TRIES", 5)
        await running.server.renew(server_certificate())
        assert running.lifecycle.phase is Phase.SERVING
        assert running.lifecycle.reason.startswith("listening again after")


async def test_a_process_that_was_stopped_during_a_hand_over_goes_on_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ads(now=WORLD) as running:
        seen = running.lifecycle.phases.version
        renewal = asyncio.create_task(running.server.renew(server_certificate()))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - as SIGSTOP does
        await renewal
        assert running.lifecycle.phases.version == seen
        async with stream(running.server.port) as call:
            await call.write(asks(CLUSTER))
            await read(call)


async def test_a_port_that_is_not_free_again_fails_the_ads(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind_never(_server: grpc.aio.Server, _listen_config: ListenConfig) -> int:
        raise AddressInUseError("taken")

    async with ads(limits=Limits(recover=0.05)) as running:
        monkeypatch.setattr("osm_probes.ads.server.bind", bind_never)
        monkeypatch.setattr("osm_probes.ads.server._HAND_OVER_TRIES", 5)
        await running.server.renew(server_certificate())
        assert (running.lifecycle.phase, running.lifecycle.reason) == (Phase.FAILED, "taken")


async def test_an_unusable_renewed_certificate_fails_the_ads() -> None:
    async with ads(limits=Limits(recover=0.05)) as running:
        await running.server.renew(Certificate("x", b"no", b"no", SHOWN.not_before, SHOWN.not_after))
        assert running.lifecycle.phase is Phase.FAILED


async def test_a_drain_ends_streams_cleanly_and_lets_nobody_in() -> None:
    async with ads(now=WORLD) as running, stream(running.server.port) as call:
        await call.write(asks(CLUSTER))
        await read(call)
        await running.server.drain(within=2)
        assert running.lifecycle.phase is Phase.STOPPED
        assert (await ended(call))[0] is grpc.StatusCode.OK
        async with stream(running.server.port) as late:
            assert (await ended(late))[0] is grpc.StatusCode.UNAVAILABLE


async def test_connections_that_never_shake_hands_are_bounded_and_dropped() -> None:
    async with ads(now=WORLD, limits=Limits(connections=3, handshake=0.3)) as running:
        with contextlib.ExitStack() as idle:
            for _ in range(3):
                idle.enter_context(socket.create_connection(("127.0.0.1", running.server.port)))
            await asyncio.sleep(0.05)
            async with stream(running.server.port) as refused:
                assert (await ended(refused))[0] is grpc.StatusCode.UNAVAILABLE
            await asyncio.sleep(0.5)
            async with stream(running.server.port) as call:
                await call.write(asks(CLUSTER))
                assert Sotw(await read(call)).names == ["a"]


LARGE = snapshot(*(cluster(f"{number:05}" + "x" * 2000) for number in range(500)), endpoints("a"))


async def deaf_proxies(running: Ads, stack: contextlib.AsyncExitStack, *, number: int) -> None:
    """Proxies that never read, and that the server is writing to."""
    for _ in range(number):
        await stack.enter_async_context(deaf_proxy(running.server.port, another(), asks(CLUSTER)))
    await running.counts.until(Event.REQUESTED, times=number)


async def test_proxies_that_never_read_are_ended() -> None:
    async with ads(now=LARGE, limits=Limits(write=0.3)) as running, contextlib.AsyncExitStack() as stack:
        await deaf_proxies(running, stack, number=20)
        await running.counts.until(Event.DISCONNECTED, times=20)
        assert running.counts.events.count(Event.UNSENT) == 20


async def test_proxies_that_never_read_harm_nobody() -> None:
    async with ads(now=LARGE, limits=Limits(write=0.9)) as running, contextlib.AsyncExitStack() as stack:
        await deaf_proxies(running, stack, number=20)
        async with stream(running.server.port) as good, asyncio.timeout(0.6):
            await good.write(asks(ENDPOINTS, "a"))
            assert Sotw(await read(good)).names == ["a"]
        await running.counts.until(Event.DISCONNECTED, times=21)
