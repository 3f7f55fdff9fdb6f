"""The native memory of an ADS in a process of its own: a stream that has ended leaves nothing there."""

import asyncio
import ctypes
import gc
import multiprocessing
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import Final

from grpc import StatusCode

from osm_probes.ads.limits import Limits
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import AUTHORITY, BOOKSTORE_CERTIFICATE, STREAM, Call, final_status, open_channel, read_message
from tests.ads.messages import cluster, snapshot, sotw_request
from tests.ads.running_ads import running_ads

# The caches of a process grow in the first rounds. An operation that leaks leaves 96 bytes.
_ROUNDS: Final = 4
_STREAMS: Final = 1_000
_LEAK: Final = 60


class _MallInfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = (
        ("before", ctypes.c_size_t * 4),
        ("mapped", ctypes.c_size_t),
        ("between", ctypes.c_size_t * 2),
        ("used", ctypes.c_size_t),
        ("after", ctypes.c_size_t * 2),
    )


def allocated_bytes() -> int:
    """What malloc has given out: not the objects of Python, which has an allocator of its own."""
    _ = gc.collect()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _MallInfo
    info = mallinfo2()
    return int(info.used + info.mapped)


async def serve(pipe: Connection) -> None:
    """Send what a client needs, then the allocated bytes whenever something is received, until the pipe is closed."""
    async with running_ads(snapshot(cluster("a")), limits=Limits(requests_per_second=10_000)) as running:
        pipe.send((running.server.port, BOOKSTORE_CERTIFICATE, AUTHORITY.root_pem))
        while await asyncio.to_thread(pipe.recv):
            running.observer.events.clear()
            pipe.send(allocated_bytes())


def run_server(pipe: Connection) -> None:
    """The entry point of the server's process."""
    asyncio.run(serve(pipe))


@asynccontextmanager
async def measured_ads() -> AsyncGenerator[tuple[Connection, tuple[int, Certificate, bytes]], None]:
    """A running server: the pipe, and what a client needs."""
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=run_server, args=(child_pipe,), daemon=True)
    process.start()
    try:
        yield pipe, await asyncio.to_thread(pipe.recv)
    finally:
        process.kill()
        process.join()


async def measured(pipe: Connection) -> int:
    """The bytes that are allocated in the server."""
    pipe.send("measure")
    allocated: int = await asyncio.to_thread(pipe.recv)
    return allocated


async def open_streams(port: int, certificate: Certificate, root_pem: bytes) -> None:
    """Open streams that the server ends, because their second request is malformed. A read is in progress then."""
    async with open_channel(port, certificate, root_pem=root_pem) as channel:
        for _ in range(_STREAMS):
            call: Call = channel.stream_stream(STREAM)()
            await call.write(sotw_request(CLUSTER))
            await read_message(call)
            await call.write(b"\xff\xff\xff\xff")
            assert (await final_status(call))[0] is StatusCode.INVALID_ARGUMENT


async def test_a_stream_that_the_server_ends_leaves_no_native_memory() -> None:
    left = []
    async with measured_ads() as (pipe, client):
        for _ in range(_ROUNDS):
            before = await measured(pipe)
            await open_streams(*client)
            left.append((await measured(pipe) - before) / _STREAMS)
    assert min(left) < _LEAK, left
