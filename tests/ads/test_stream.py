import asyncio
import gc
import time
import weakref

import grpc
import grpc.aio

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.ads.registry import StreamRegistry
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.ads.stream import OK, Stream, StreamContext, StreamRpc
from osm_probes.ads.write_limiter import WriteLimiter
from osm_probes.foundation.latest import Latest
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Snapshot
from tests.ads.client import BOOKSTORE_PROXY, TRUST_DOMAIN
from tests.ads.messages import cluster, snapshot, sotw_request
from tests.ads.running_ads import RecordingObserver, refuse_strangers


class Rpc:
    """A proxy that sends these requests and then closes the stream; if `lost`, every write to it fails instead.

    Over a real socket, the moment between the request and the failing write cannot be produced reliably.
    """

    def __init__(self, *requests: bytes, lost: int = 0) -> None:
        self._requests = list(requests)
        self._lost = lost
        self._never = asyncio.Event()
        self.written = 0

    async def read(self) -> object:
        if self._requests:
            return self._requests.pop()
        if self._lost:
            await self._never.wait()
        return grpc.aio.EOF

    async def write(self, _message: bytes, /) -> None:
        if self._lost:
            raise grpc.aio.InternalError("gone")
        self.written += 1


def new_stream(rpc: StreamRpc, *, limits: Limits | None = None) -> tuple[Stream, RecordingObserver]:
    observer = RecordingObserver()
    shared = StreamContext(
        Authenticator(TRUST_DOMAIN, refuse_strangers),
        limits or Limits(),
        StreamRegistry(SnapshotCache(), observe=observer),
        WriteLimiter(limit=1, timeout=1),
    )
    snapshots: Latest[Snapshot | None] = Latest(snapshot(cluster("a")))
    return Stream(BOOKSTORE_PROXY, StateOfTheWorld(), rpc=rpc, snapshots=snapshots, shared=shared), observer


async def test_a_lost_connection_during_a_write_ends_the_stream() -> None:
    stream, observer = new_stream(Rpc(sotw_request(CLUSTER), lost=1))
    async with asyncio.timeout(5):
        assert await stream.run() == OK
    assert observer.events == [Event.REQUESTED, Event.UNSENT]


async def test_a_proxy_that_closes_the_stream_ends_it() -> None:
    stream, _ = new_stream(Rpc())
    async with asyncio.timeout(5):
        assert await stream.run() == OK


async def test_requests_above_the_rate_limit_are_delayed() -> None:
    stream, observer = new_stream(Rpc(*[sotw_request(CLUSTER)] * 5), limits=Limits(requests_per_second=5))
    started = time.monotonic()
    async with asyncio.timeout(5):
        await stream.run()
    assert time.monotonic() - started > 0.9
    assert observer.events.count(Event.REQUESTED) == 5


class IdleRpc:
    """A proxy that sends one request and reads nothing. `cancelled`: the operations that were cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.both_wait = asyncio.Event()
        self.ended = asyncio.Event()
        self._waiting: set[str] = set()
        self._requests = [sotw_request(CLUSTER)]

    async def read(self) -> object:
        if self._requests:
            return self._requests.pop()
        await self._wait("read")
        return grpc.aio.EOF

    async def write(self, _message: bytes, /) -> None:
        await self._wait("write")

    async def _wait(self, operation: str) -> None:
        self._waiting.add(operation)
        if len(self._waiting) == 2:
            self.both_wait.set()
        try:
            await self.ended.wait()
        except asyncio.CancelledError:
            self.cancelled.append(operation)
            raise


async def test_the_end_of_a_stream_cancels_neither_a_read_nor_a_write_in_progress() -> None:
    rpc = IdleRpc()
    stream, _ = new_stream(rpc)
    running = asyncio.create_task(stream.run())
    async with asyncio.timeout(5):
        await rpc.both_wait.wait()
        running.cancel()
        await asyncio.wait({running})
        rpc.ended.set()
        await asyncio.sleep(0)
    assert rpc.cancelled == []


class DisconnectedRpc:
    """A proxy that sends one request and disconnects while the answer is written."""

    def __init__(self) -> None:
        self._requests = [sotw_request(CLUSTER)]
        self._disconnected = asyncio.Event()

    async def read(self) -> object:
        if self._requests:
            return self._requests.pop()
        await self._disconnected.wait()
        raise grpc.aio.UsageError

    async def write(self, _message: bytes, /) -> None:
        await asyncio.sleep(0)
        self._disconnected.set()
        raise grpc.aio.UsageError


async def test_a_failed_write_keeps_neither_its_stream_nor_its_message() -> None:
    rpc = DisconnectedRpc()
    left = weakref.ref(rpc)
    stream, _ = new_stream(rpc)
    gc.collect()
    gc.disable()  # a reference cycle would hold them until the garbage collector runs
    try:
        async with asyncio.timeout(5):
            await stream.run()
        del rpc, stream
        await asyncio.sleep(0)
        assert left() is None
    finally:
        gc.enable()
