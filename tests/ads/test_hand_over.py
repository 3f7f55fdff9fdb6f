"""The hand-over of the port to a new server with a renewed certificate."""

import asyncio
import socket
import ssl
import time

import pytest

from osm_probes.ads.limits import Limits
from osm_probes.health.lifecycle import Phase
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import (
    AUTHORITY,
    BOOKSTORE,
    SERVER_CERTIFICATE,
    SERVER_NAME,
    new_proxy_certificate,
    open_stream,
    read_message,
    server_certificate,
)
from tests.ads.messages import SotwResponse, cluster, snapshot, sotw_request
from tests.ads.running_ads import running_ads

INITIAL = snapshot(cluster("a"))


async def test_new_connections_get_a_renewed_certificate_and_old_streams_stay_open() -> None:
    renewed = server_certificate()
    async with running_ads(INITIAL) as running, open_stream(running.server.port) as old:
        await old.write(sotw_request(CLUSTER))
        first = SotwResponse(await read_message(old))
        for certificate in (server_certificate(), renewed):
            await running.server.renew(certificate)
        async with open_stream(running.server.port, new_proxy_certificate()) as new:
            await new.write(sotw_request(CLUSTER))
            assert SotwResponse(await read_message(new)).names == ["a"]
        assert await asyncio.to_thread(_presented_certificate, running.server.port) == renewed.chain_pem
        await old.write(sotw_request(CLUSTER, nonce=first.nonce, version=first.version))
        running.cache.publish(BOOKSTORE, snapshot(cluster("a", 2)))
        assert SotwResponse(await read_message(old)).version != first.version
        assert running.lifecycle.phase is Phase.SERVING


def _presented_certificate(port: int) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context(cadata=AUTHORITY.root_pem.decode())
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        context.wrap_socket(connection, server_hostname=SERVER_NAME) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).encode()


async def test_a_certificate_renewed_after_a_drain_opens_no_port() -> None:
    async with running_ads() as running:
        await running.server.drain(within=2)
        await running.server.renew(server_certificate())
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.server.port)
        assert running.lifecycle.phase is Phase.STOPPED


async def test_a_hand_over_retries_until_the_port_is_free() -> None:
    failures = 2

    def port_taken() -> bool:
        nonlocal failures
        failures -= 1
        return failures >= 0

    async with running_ads() as running:
        running.port_taken = port_taken
        await running.server.renew(server_certificate())
        assert (failures, running.lifecycle.phase) == (-1, Phase.SERVING)


async def test_a_port_that_a_hand_over_cannot_bind_is_recovered_like_a_lost_socket() -> None:
    async with running_ads(limits=Limits(hand_over_tries=5)) as running:
        running.port_taken = lambda: running.lifecycle.phase is Phase.SERVING
        await running.server.renew(server_certificate())
        assert running.lifecycle.phase is Phase.SERVING
        assert running.lifecycle.reason.startswith("listening again after")


async def test_a_process_that_was_paused_during_a_hand_over_completes_it() -> None:
    async with running_ads(INITIAL) as running:
        seen = running.lifecycle.phases.version
        renewal = asyncio.create_task(running.server.renew(server_certificate()))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - blocks the event loop as SIGSTOP does
        await renewal
        assert running.lifecycle.phases.version == seen
        async with open_stream(running.server.port) as call:
            await call.write(sotw_request(CLUSTER))
            await read_message(call)


async def test_a_port_that_stays_taken_fails_the_ads() -> None:
    async with running_ads(limits=Limits(recovery=0.05, hand_over_tries=5)) as running:
        running.port_taken = lambda: True
        await running.server.renew(server_certificate())
        assert (running.lifecycle.phase, running.lifecycle.reason) == (Phase.FAILED, "taken")


async def test_an_unusable_renewed_certificate_fails_the_ads() -> None:
    async with running_ads(limits=Limits(recovery=0.05)) as running:
        await running.server.renew(
            Certificate("x", b"no", b"no", SERVER_CERTIFICATE.not_before, SERVER_CERTIFICATE.not_after)
        )
        assert running.lifecycle.phase is Phase.FAILED
