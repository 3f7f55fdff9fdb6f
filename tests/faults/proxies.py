"""Proxies as a load of the ADS: they hold, come again and again, read nothing, refuse everything, or fail TLS."""

import asyncio
import contextlib
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

from osm_probes.ads import canary_resource
from osm_probes.canary.ads import ask_ads as ask_canary
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary
from osm_probes.mesh.identity import CANARY, Identity, ProxyName
from osm_probes.pki.authority import Authority
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER
from tests.ads.dial import SERVER_NAME, STREAM, dialled
from tests.faults.ask import NotServedError, ask_ads
from tests.faults.identity import BOOKSTORE, TRIES, Credentials, credentials, proxy

Call = grpc.aio.StreamStreamCall[bytes, bytes]
_AT_ONCE = 50
_FAILED_HANDSHAKES_A_SECOND = 30


def crowd(ca: Path, count: int) -> list[Credentials]:
    """So many proxies, each with an identity of its own."""
    return [credentials(ca, proxy(TRIES + number)) for number in range(count)]


def _up() -> None:
    os.write(1, b"up\n")


async def hold(port: int, ca: Path, count: int) -> None:
    """So many proxies of the bookbuyer with an open stream and their clusters."""
    await _hold(port, crowd(ca, count))


async def bookstore(port: int, ca: Path, count: int) -> None:
    """The same of the bookstore."""
    await _hold(port, [credentials(ca, BOOKSTORE)] * count)


async def _hold(port: int, crowd: Sequence[Credentials]) -> None:
    async with AsyncExitStack() as opened:
        for known in crowd:
            channel = await opened.enter_async_context(dialled(port, known.certificate, root_pem=known.root_pem))
            opened.callback((await _held(channel)).cancel)
        _up()
        await asyncio.sleep(3600)


async def _held(channel: grpc.aio.Channel) -> Call:
    """A stream with its clusters. Who is told that all places are taken asks again: truth's client has one at times."""
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
    """So many proxies that come, are served or not, and come again, on end."""
    proxies = crowd(ca, count)
    _up()
    async with asyncio.TaskGroup() as group:
        for known in proxies:
            group.create_task(_on_end(partial(ask_ads, port, known)))


async def failing_tls(port: int, ca: Path, _count: int) -> None:
    """30 clients a second whose certificate is of another CA."""
    known = crowd(ca, 1)[0]
    foreign = Authority.create("another-ca").issue(
        proxy(TRIES).common_name("cluster.local"), validity=timedelta(days=1)
    )
    stranger = Credentials(foreign, known.root_pem)
    _up()
    async with asyncio.TaskGroup() as group:
        for _ in range(_FAILED_HANDSHAKES_A_SECOND):
            group.create_task(_on_end(lambda: ask_ads(port, stranger), pause=1.0))


async def canaries(port: int, ca: Path, count: int) -> None:
    """So many questions as the judge asks them, 8 at once; ends. Raises NotServedError if one in a hundred fails."""
    name = ProxyName("5f0e7a3c-0000-4000-8000-00000000000c", CANARY, Identity("osm-system", "osm-controller"))
    known = credentials(ca, name)
    canary = AdsCanary(
        address="127.0.0.1", port=port, server_name=SERVER_NAME, root_pem=known.root_pem,
        chain_pem=known.certificate.chain_pem, key_pem=known.certificate.key_pem,
        request=canary_resource.REQUEST, expected=canary_resource.EXPECTED,
    )  # fmt: skip
    left = iter(range(count))
    refusals = []

    async def ask() -> None:
        for _ in left:
            try:
                await ask_canary(canary, within=5)
            except UnhealthyError as error:
                refusals.append(str(error))

    _up()
    await asyncio.gather(*(ask() for _ in range(8)))
    if len(refusals) > count / 100:
        raise NotServedError(f"{len(refusals)} canaries were refused: {refusals[-1]}")


async def refusing(port: int, ca: Path, _count: int) -> None:
    """One proxy that NACKs everything that it is sent, at once."""
    known = crowd(ca, 1)[0]
    async with dialled(port, known.certificate, root_pem=known.root_pem) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(STREAM)()
        for type_url in (CLUSTER, LISTENER):
            await call.write(DiscoveryRequest(type_url=type_url).SerializeToString())
        _up()
        while isinstance(answer := await call.read(), bytes):
            response = DiscoveryResponse.FromString(answer)
            refusal = DiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            refusal.error_detail.code, refusal.error_detail.message = 3, "no"
            await call.write(refusal.SerializeToString())


async def deaf(port: int, ca: Path, count: int) -> None:
    """So many proxies that ask and never read; one that is cut off comes again."""
    contexts = [_context(known) for known in crowd(ca, count)]
    there = 0
    turn = asyncio.Semaphore(_AT_ONCE)
    all_there = asyncio.Event()

    async def one(context: ssl.SSLContext) -> None:
        nonlocal there
        async with turn:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=SERVER_NAME, limit=1
            )
            writer.write(_deaf_request(H2Connection(H2Configuration(header_encoding="utf-8"))))
            await writer.drain()
        there += 1
        if there >= count:
            all_there.set()
        try:
            while await reader.read(1024):
                pass
        finally:
            writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        for context in contexts:
            group.create_task(_on_end(partial(one, context)))
        await all_there.wait()
        _up()


async def stalled(port: int, ca: Path, _count: int) -> None:
    """One proxy that takes nothing for 13 s, then wakes up; ends. Raises NotServedError: its stream was not ended.

    A stream that nobody serves any more must end on the wire too, or a proxy that wakes up waits on it for good.
    """
    http = H2Connection(H2Configuration(header_encoding="utf-8"))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=_context(crowd(ca, 1)[0]), server_hostname=SERVER_NAME
    )
    writer.write(_deaf_request(http))
    _up()
    try:
        if await _ended(http, reader, writer, within=13):
            return
        http.increment_flow_control_window(1 << 20, stream_id=1)
        if not await _ended(http, reader, writer, within=3):
            raise NotServedError("a stream whose write had timed out was left open when its proxy woke up")
    finally:
        writer.transport.abort()


async def _ended(
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


def _deaf_request(http: H2Connection) -> bytes:
    """A request on a stream whose window is closed: no answer can be sent on it."""
    http.initiate_connection()
    http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    headers = {":method": "POST", ":scheme": "https", ":path": STREAM, ":authority": SERVER_NAME}
    http.send_headers(1, [*headers.items(), ("content-type", "application/grpc"), ("te", "trailers")])
    for type_url in (CLUSTER, LISTENER):
        request = DiscoveryRequest(type_url=type_url).SerializeToString()
        http.send_data(1, b"\0" + len(request).to_bytes(4, "big") + request)
    return http.data_to_send()


def _context(known: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=known.root_pem.decode())
    context.set_alpn_protocols(["h2"])
    descriptor = os.memfd_create("pair")
    with os.fdopen(descriptor, "wb") as pair:
        pair.write(known.certificate.key_pem + known.certificate.chain_pem)
        pair.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


async def _on_end(work: Callable[[], Awaitable[None]], *, pause: float = 0.05) -> None:
    while True:
        with contextlib.suppress(NotServedError, OSError, TimeoutError, EOFError):
            async with asyncio.timeout(60):
                await work()
        await asyncio.sleep(pause * (0.5 + random.random()))


KINDS: dict[str, Callable[..., Coroutine[None, None, None]]] = {
    "hold": hold,
    "bookstore": bookstore,
    "storm": storm,
    "failing-tls": failing_tls,
    "canaries": canaries,
    "refusing": refusing,
    "deaf": deaf,
    "stalled": stalled,
}
