"""Proxies as load on the ADS: they stay, reconnect, never read, reject everything, or fail the TLS handshake."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, StreamEnded, StreamReset
from h2.settings import SettingCodes

from osm_probes.canary.ads import check_ads
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary, CanaryStep
from osm_probes.pki.authority import Authority
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER
from tests.ads.client import SERVER_NAME, STREAM, open_channel
from tests.faults.client import NotServedError, acknowledgement, next_response, request_ads
from tests.faults.identity import BOOKSTORE, TRIES, Credentials, credentials, crowd_proxy, proxy

FIRST_CLUSTERS = (CanaryStep((DiscoveryRequest(type_url=CLUSTER).SerializeToString(),), expected=CLUSTER.encode()),)
"""What a proxy with the canary's client sends and expects."""

Call = grpc.aio.StreamStreamCall[bytes, bytes]
_CONCURRENT_CONNECTS = 50
_FAILED_HANDSHAKES_A_SECOND = 30


def load_credentials(ca: Path, count: int) -> list[Credentials]:
    """The credentials of `count` load proxies, each with its own identity."""
    return [credentials(ca, proxy(TRIES + number)) for number in range(count)]


def _report_up() -> None:
    os.write(1, b"up\n")


async def hold(port: int, ca: Path, count: int) -> None:
    """Keep the streams of `count` bookbuyer proxies open, after each has received its clusters."""
    await _hold(port, load_credentials(ca, count))


async def crowd(port: int, ca: Path, count: int) -> None:
    """`count` proxies with an identity each connect at once, and accept all that they get, until they are killed."""
    own = [credentials(ca, crowd_proxy(number)) for number in range(count)]
    _report_up()
    await asyncio.gather(*(_repeat(partial(_accept_all, port, each)) for each in own))


async def _accept_all(port: int, own_credentials: Credentials) -> None:
    async with open_channel(port, own_credentials.certificate, root_pem=own_credentials.root_pem) as channel:
        call: Call = channel.stream_stream(STREAM)()
        for type_url in (CLUSTER, LISTENER):
            await call.write(DiscoveryRequest(type_url=type_url).SerializeToString())
        while True:
            await call.write(acknowledgement(await next_response(call)))


async def changes(_port: int, _ca: Path, rate: int) -> None:
    """Change a service of the mesh folder `rate` times a second."""
    file = Path(os.environ["MESH"]) / "changing.json"
    _report_up()
    for number in itertools.count(10_000):
        spec = {"clusterIP": "10.96.0.98", "selector": {"app": "changing"}, "ports": [{"port": number % 50_000 + 1}]}
        metadata = {"name": "changing", "namespace": "bookstore"}
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
        new.replace(file)
        await asyncio.sleep(1 / rate)


async def bookstore(port: int, ca: Path, count: int) -> None:
    """The same for the bookstore's proxy."""
    await _hold(port, [credentials(ca, BOOKSTORE)] * count)


async def _hold(port: int, proxies: Sequence[Credentials]) -> None:
    async with AsyncExitStack() as opened:
        for own_credentials in proxies:
            channel = await opened.enter_async_context(
                open_channel(port, own_credentials.certificate, root_pem=own_credentials.root_pem)
            )
            opened.callback((await _open_stream(channel)).cancel)
        _report_up()
        await asyncio.sleep(3600)


async def _open_stream(channel: grpc.aio.Channel) -> Call:
    """Open a stream and receive the clusters. Retries while the ADS is full: a real client may have the last place."""
    async with asyncio.timeout(20):
        while True:
            call: Call = channel.stream_stream(STREAM)()
            await call.write(DiscoveryRequest(type_url=CLUSTER).SerializeToString())
            try:
                await call.read()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(0.05)
            else:
                return call


async def storm(port: int, ca: Path, count: int) -> None:
    """Connect `count` proxies, disconnect them when they were served or refused, and repeat this continuously."""
    proxies = load_credentials(ca, count)
    _report_up()
    async with asyncio.TaskGroup() as group:
        for own_credentials in proxies:
            group.create_task(_repeat(partial(request_ads, port, own_credentials)))


async def failing_tls(port: int, ca: Path, _count: int) -> None:
    """Fail 30 TLS handshakes per second, with a client certificate from another CA."""
    own_credentials = load_credentials(ca, 1)[0]
    foreign = Authority.create("another-ca").issue(
        proxy(TRIES).common_name("cluster.local"), validity=timedelta(days=1)
    )
    other_credentials = Credentials(foreign, own_credentials.root_pem)
    _report_up()
    async with asyncio.TaskGroup() as group:
        for _ in range(_FAILED_HANDSHAKES_A_SECOND):
            group.create_task(_repeat(lambda: request_ads(port, other_credentials), pause=1.0))


async def canaries(port: int, ca: Path, count: int) -> None:
    """Send `count` requests with the canary's client, 8 at a time. Raises NotServedError if more than 1 % fail.

    The clients have proxies' certificates, because the program knows only its own judge's certificate as the canary's.
    """
    clients = [
        AdsCanary(
            address="127.0.0.1", port=port, server_name=SERVER_NAME, root_pem=own_credentials.root_pem,
            chain_pem=own_credentials.certificate.chain_pem, key_pem=own_credentials.certificate.key_pem,
            steps=FIRST_CLUSTERS,
        )
        for own_credentials in load_credentials(ca, 8)
    ]  # fmt: skip
    left = iter(range(count))
    refusals = []

    async def send_requests(canary: AdsCanary) -> None:
        for _ in left:
            try:
                await check_ads(canary, within=5)
            except UnhealthyError as error:
                refusals.append(str(error))

    _report_up()
    await asyncio.gather(*map(send_requests, clients))
    if len(refusals) > count / 100:
        raise NotServedError(f"{len(refusals)} canaries were refused: {refusals[-1]}")


async def rejecting(port: int, ca: Path, _count: int) -> None:
    """One proxy that rejects (NACK) every response at once."""
    own_credentials = load_credentials(ca, 1)[0]
    async with open_channel(port, own_credentials.certificate, root_pem=own_credentials.root_pem) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(STREAM)()
        for type_url in (CLUSTER, LISTENER):
            await call.write(DiscoveryRequest(type_url=type_url).SerializeToString())
        _report_up()
        while isinstance(answer := await call.read(), bytes):
            response = DiscoveryResponse.FromString(answer)
            refusal = DiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            refusal.error_detail.code, refusal.error_detail.message = 3, "no"
            await call.write(refusal.SerializeToString())


async def unreading(port: int, ca: Path, count: int) -> None:
    """`count` proxies that send requests and never read; those that are disconnected connect again."""
    contexts = [tls_context(own_credentials) for own_credentials in load_credentials(ca, count)]
    connected = 0
    slots = asyncio.Semaphore(_CONCURRENT_CONNECTS)
    all_connected = asyncio.Event()

    async def connect(context: ssl.SSLContext) -> None:
        nonlocal connected
        async with slots:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=SERVER_NAME, limit=1
            )
            writer.write(_request_without_window(H2Connection(H2Configuration(header_encoding="utf-8"))))
            await writer.drain()
        connected += 1
        if connected >= count:
            all_connected.set()
        try:
            while await reader.read(1024):
                pass
        finally:
            writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        for context in contexts:
            group.create_task(_repeat(partial(connect, context)))
        await all_connected.wait()
        _report_up()


async def stalled(port: int, ca: Path, _count: int) -> None:
    """One proxy that reads nothing for 13 s, then reads again. Raises NotServedError if its stream was not ended.

    A stream that the ADS abandoned must also end on the wire, or a proxy that reads again would wait on it for ever.
    """
    http = H2Connection(H2Configuration(header_encoding="utf-8"))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls_context(load_credentials(ca, 1)[0]), server_hostname=SERVER_NAME
    )
    writer.write(_request_without_window(http))
    _report_up()
    try:
        if await _stream_ended(http, reader, writer, within=13):
            return
        http.increment_flow_control_window(1 << 20, stream_id=1)
        if not await _stream_ended(http, reader, writer, within=3):
            raise NotServedError("a stream whose write had timed out was not ended")
    finally:
        writer.transport.abort()


async def _stream_ended(
    http: H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, within: float
) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            writer.write(http.data_to_send())
            while chunk := await reader.read(65536):
                if any(isinstance(event, _ENDS) for event in http.receive_data(chunk)):
                    return True
                writer.write(http.data_to_send())
            return True
    return False


_ENDS = (StreamReset, StreamEnded, ConnectionTerminated)


def _request_without_window(http: H2Connection) -> bytes:
    """A request on a stream with a flow-control window of zero: no response can be sent on it."""
    http.initiate_connection()
    http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    headers = {":method": "POST", ":scheme": "https", ":path": STREAM, ":authority": SERVER_NAME}
    http.send_headers(1, [*headers.items(), ("content-type", "application/grpc"), ("te", "trailers")])
    for type_url in (CLUSTER, LISTENER):
        request = DiscoveryRequest(type_url=type_url).SerializeToString()
        http.send_data(1, b"\0" + len(request).to_bytes(4, "big") + request)
    return http.data_to_send()


def tls_context(own_credentials: Credentials) -> ssl.SSLContext:
    """TLS with a proxy's certificate."""
    context = ssl.create_default_context(cadata=own_credentials.root_pem.decode())
    context.set_alpn_protocols(["h2"])
    descriptor = os.memfd_create("pair")
    with os.fdopen(descriptor, "wb") as pair:
        pair.write(own_credentials.certificate.key_pem + own_credentials.certificate.chain_pem)
        pair.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


async def _repeat(work: Callable[[], Awaitable[None]], *, pause: float = 0.05) -> None:
    while True:
        with contextlib.suppress(
            NotServedError, grpc.aio.AioRpcError, asyncio.InvalidStateError, OSError, TimeoutError, EOFError
        ):
            async with asyncio.timeout(60):
                await work()
        await asyncio.sleep(pause * (0.5 + random.random()))


KINDS: dict[str, Callable[..., Coroutine[None, None, None]]] = {
    "hold": hold,
    "bookstore": bookstore,
    "crowd": crowd,
    "changes": changes,
    "storm": storm,
    "failing-tls": failing_tls,
    "canaries": canaries,
    "rejecting": rejecting,
    "unreading": unreading,
    "stalled": stalled,
}
