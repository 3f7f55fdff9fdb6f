"""The registry of all ADS streams: limits their number, wakes them for new snapshots, ends them on drain."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from osm_probes.ads.authenticator import Admit
from osm_probes.ads.errors import CapacityError, DrainingError, MeshUnknownError, NotAdmittedError
from osm_probes.ads.events import ConnectedProxy, Event, Observer
from osm_probes.ads.known_proxies import KnownProxies
from osm_probes.ads.late_streams import LateStreams
from osm_probes.ads.rejections import Rejections
from osm_probes.ads.stream_monitor import MonitoredStream, StreamMonitor
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.mesh.identity import CANARY, ProxyName
from osm_probes.snapshot.cache import CANARY as CANARY_KEY
from osm_probes.snapshot.cache import SnapshotCache

_BATCH: Final = 20
T = TypeVar("T")


class RegisteredStream(MonitoredStream, Protocol):
    """What the registry needs of a stream."""

    @property
    def behind(self) -> bool:
        """Whether there is a snapshot that the stream has not processed yet."""

    @property
    def late_after(self) -> int | None:
        """The version of the snapshot that it processed last, if the ADS should process a newer one now."""

    def wake(self) -> None:
        """Check whether there is something to send."""

    def describe(self) -> ConnectedProxy:
        """The state of the stream's proxy."""


class StreamRegistry:
    """The streams of all proxies, one for each proxy, and those of the canary, which do not count.

    A proxy is its uuid and its identity: a peer with another identity and the same uuid is another proxy.

    `max_streams` limits the number of proxies; 0 means no limit. It may be changed at any time.
    `remembered`: how many proxies it remembers after their streams have ended.
    """

    def __init__(
        self,
        cache: SnapshotCache,
        *,
        observe: Observer,
        check_every: float = 5.0,
        max_streams: int = 0,
        remembered: int = 20_000,
    ) -> None:
        self.max_streams = max_streams
        self.observe = observe
        self._cache = cache
        self._streams: dict[ProxyName, RegisteredStream] = {}
        # Peers that wait until the mesh is known.
        self._waiting: dict[asyncio.Event, None] = {}
        self._streams_of: defaultdict[Hashable, dict[RegisteredStream, None]] = defaultdict(dict)
        self._known = KnownProxies(limit=remembered)
        self.rejections = Rejections(self._known, observe=observe)
        self.monitor = StreamMonitor(
            lambda: list(self._streams.values()), self._known, self.rejections, observe=observe, every=check_every
        )
        self._late = LateStreams()
        self._capacity_log = ProblemLog("ads", began="no more proxies are accepted", ended="proxies are accepted again")
        self._draining = False

    @property
    def count(self) -> int:
        """The number of proxies' streams."""
        return len(self._streams)

    @property
    def proxies(self) -> tuple[ConnectedProxy, ...]:
        """The connected proxies, without the canary. Safe to read from another thread."""
        # list() copies atomically, so no stream is added or removed meanwhile.
        return tuple(stream.describe() for stream in list(self._streams.values()))

    @property
    def full(self) -> bool:
        """Whether one more proxy would be refused."""
        return 0 < self.max_streams <= self.count

    def delay(self) -> float:
        """For how many seconds the stream that is latest has not processed a newer snapshot. Call it every second."""
        return self._late.longest(self._streams.items())

    async def until_admitted(self, name: ProxyName, admit: Admit) -> None:
        """Wait until the mesh is known; then return if `admit` does. Raises NotAdmittedError, DrainingError.

        Nothing else is done for a peer before this returns: it takes no place and no memory, and replaces no stream.
        """
        event = asyncio.Event()
        self._waiting[event] = None
        try:
            while True:
                event.clear()
                self._refuse_while_draining()
                try:
                    return admit(name)
                except MeshUnknownError:
                    await event.wait()
        finally:
            del self._waiting[event]

    @contextmanager
    def registered(self, stream: RegisteredStream) -> Iterator[None]:
        """Keep an admitted stream in the registry while the block lasts. Raises CapacityError, DrainingError.

        A proxy's new stream ends its old one, because the proxy may reconnect before its old connection is known to
        be dead.
        """
        self._refuse_while_draining()
        if stream.name.kind != CANARY:
            self._add(stream)
        key = snapshot_key(stream.name)
        self._streams_of[key][stream] = None
        try:
            yield
        finally:
            del self._streams_of[key][stream]
            if not self._streams_of[key]:
                del self._streams_of[key]
            self._remove(stream)

    def _refuse_while_draining(self) -> None:
        if self._draining:
            raise DrainingError("this control plane is stopping")

    def _add(self, stream: RegisteredStream) -> None:
        name = stream.name
        if old := self._streams.get(name):
            self._remove(old)
            old.end()
        else:
            self._check_capacity()
        self.observe(Event.RECONNECTED if name in self._known else Event.CONNECTED)
        self._known.remember(name)
        self._streams[name] = stream

    def _remove(self, stream: RegisteredStream) -> None:
        """Remove a stream when it ends. It may have been replaced by a newer one already."""
        if self._streams.get(stream.name) is stream:
            del self._streams[stream.name]
            self.observe(Event.DISCONNECTED)

    def _check_capacity(self) -> None:
        problem = ""
        if self.full:
            problem = f"{self.max_streams} proxies are connected, the most that this control plane serves"
        self._capacity_log.update(problem, most=self.max_streams)
        if problem:
            self.observe(Event.CAPPED)
            raise CapacityError(problem)

    async def broadcast(self) -> None:
        """Wake streams whenever they have a new snapshot, in batches, so that the event loop is not blocked.

        Runs until it is cancelled.
        """
        seen = self._cache.published.version
        self._cache.take_published()
        while True:
            seen = await self._cache.published.after(seen)
            keys = self._cache.take_published()
            if keys != {CANARY_KEY}:
                self.observe(Event.BROADCAST)
            streams = [stream for key in keys for stream in self._streams_of.get(key, ()) if stream.behind]
            async for stream in _in_batches(streams):
                stream.wake()

    async def recheck(self, admit: Admit) -> None:
        """Wake the streams of proxies that left the mesh, so that they end: their certificates may still be valid.

        Peers that wait for the mesh are woken, too.
        """
        await self._wake_waiting()
        async for stream in _in_batches(list(self._streams.values())):
            try:
                admit(stream.name)
            except NotAdmittedError:
                stream.wake()

    async def end_all(self) -> None:
        """Refuse new streams from now on, and end all streams with status OK, in batches."""
        self._draining = True
        await self._wake_waiting()
        async for stream in _in_batches([stream for streams in self._streams_of.values() for stream in streams]):
            stream.end()

    async def _wake_waiting(self) -> None:
        async for event in _in_batches(list(self._waiting)):
            event.set()


def snapshot_key(name: ProxyName) -> Hashable:
    """The key of the snapshot that this proxy gets."""
    return CANARY_KEY if name.kind == CANARY else name.identity


async def _in_batches(members: Iterable[T]) -> AsyncIterator[T]:
    for index, member in enumerate(members, start=1):
        yield member
        if index % _BATCH == 0:
            await asyncio.sleep(0)
