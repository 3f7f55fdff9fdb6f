import asyncio
import time

import grpc
import grpc.aio

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.ads.stream import CLEAN, Stream, StreamContext
from osm_probes.ads.streams import Streams
from osm_probes.ads.write_limiter import WriteLimiter
from osm_probes.foundation.latest import Latest
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Snapshot
from tests.ads.dial import BOOKSTORE_PROXY, TRUST_DOMAIN, Counts, refuses_strangers
from tests.ads.messages import asks, cluster, snapshot


class Line:
    """A proxy that says what it is given, then hangs up, or is gone when it is written to.

    Over a socket the moment between the two cannot be met at will.
    """

    def __init__(self, *requests: bytes, gone: int = 0) -> None:
        self._requests = list(requests)
        self._gone = gone
        self._hang_up = asyncio.Event()
        self.written = 0

    async def read(self) -> object:
        if self._requests:
            return self._requests.pop()
        if self._gone:
            await self._hang_up.wait()
        return grpc.aio.EOF

    async def write(self, _message: bytes, /) -> None:
        if self._gone:
            raise grpc.aio.InternalError("gone")
        self.written += 1


def stream(line: Line, *, limits: Limits | None = None) -> tuple[Stream, Counts]:
    counts = Counts()
    context = StreamContext(
        Authenticator(TRUST_DOMAIN, refuses_strangers),
        limits or Limits(),
        Streams(SnapshotCache(), observe=counts),
        WriteLimiter(width=1, patience=1),
    )
    now: Latest[Snapshot | None] = Latest(snapshot(cluster("a")))
    return Stream(BOOKSTORE_PROXY, StateOfTheWorld(), line=line, snapshots=now, context=context), counts


async def test_a_proxy_that_is_gone_while_it_is_written_to_ends_its_stream() -> None:
    line = Line(asks(CLUSTER), gone=1)
    member, counts = stream(line)
    async with asyncio.timeout(5):
        assert await member.run() == CLEAN
    assert counts.events == [Event.REQUESTED, Event.UNSENT]


async def test_a_proxy_that_hangs_up_ends_its_stream() -> None:
    member, _ = stream(Line())
    async with asyncio.timeout(5):
        assert await member.run() == CLEAN


async def test_who_asks_too_often_is_read_later() -> None:
    member, counts = stream(Line(*[asks(CLUSTER)] * 5), limits=Limits(requests_per_second=5))
    started = time.monotonic()
    async with asyncio.timeout(5):
        await member.run()
    assert time.monotonic() - started > 0.9
    assert counts.events.count(Event.REQUESTED) == 5
