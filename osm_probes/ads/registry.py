"""The registry of all ADS streams: limits their number, wakes them for new snapshots, ends them on drain."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from osm_probes.ads.authenticator import Admit
from osm_probes.ads.errors import CapacityError, DrainingError, NotAdmittedError
from osm_probes.ads.events import ConnectedProxy, Event, Observer, Rejection
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.mesh.identity import CANARY, ProxyName
from osm_probes.snapshot.cache import SnapshotCache

_BATCH: Final = 20


class RegisteredStream(Protocol):
    """What the registry needs of a stream."""

    @property
    def name(self) -> ProxyName:
        """The proxy of the stream."""

    @property
    def behind(self) -> bool:
        """Whether there is a snapshot that the stream has not processed yet."""

    def wake(self) -> None:
        """Check whether there is something to send."""

    def end(self) -> None:
        """End the stream soon, with status OK."""

    def describe(self) -> ConnectedProxy:
        """The state of the stream's proxy."""


class StreamRegistry:
    """The streams of all proxies, one for each proxy, and those of the canary, which do not count.

    `max_streams` limits the number of proxies; 0 means no limit. It may be changed at any time.
    `remembered`: how many proxies it remembers after their streams have ended.
    """

    def __init__(
        self, cache: SnapshotCache, *, observe: Observer, max_streams: int = 0, remembered: int = 20_000
    ) -> None:
        self.max_streams = max_streams
        self.observe = observe
        self._cache = cache
        self._remembered = remembered
        self._streams: dict[str, RegisteredStream] = {}  # by the proxy's uuid
        self._canaries: dict[RegisteredStream, None] = {}
        # Proxy uuid -> type -> the last rejected version that was logged. Its keys are the proxies seen before.
        self._seen: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._capacity_log = ProblemLog("ads", began="no more proxies are accepted", ended="proxies are accepted again")
        self._rejection_log = RateLimitedLog("ads")
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

    @contextmanager
    def registered(self, stream: RegisteredStream) -> Iterator[None]:
        """Keep a stream in the registry while the block lasts. Raises CapacityError, DrainingError.

        A proxy's new stream ends its old one, because the proxy may reconnect before its old connection is known to
        be dead.
        """
        if self._draining:
            raise DrainingError("this control plane is stopping")
        canary = stream.name.kind == CANARY
        if canary:
            self._canaries[stream] = None
        else:
            self._add(stream)
        try:
            yield
        finally:
            if canary:
                del self._canaries[stream]
            else:
                self._remove(stream)

    def _add(self, stream: RegisteredStream) -> None:
        uuid = stream.name.uuid
        if old := self._streams.get(uuid):
            self._remove(old)
            old.end()
        self._check_capacity()
        self.observe(Event.RECONNECTED if uuid in self._seen else Event.CONNECTED)
        self._remember(uuid)
        self._streams[uuid] = stream

    def _remove(self, stream: RegisteredStream) -> None:
        """Remove a stream when it ends. It may have been replaced by a newer one already."""
        if self._streams.get(stream.name.uuid) is stream:
            del self._streams[stream.name.uuid]
            self.observe(Event.DISCONNECTED)

    def _check_capacity(self) -> None:
        problem = ""
        if self.full:
            problem = f"{self.max_streams} proxies are connected, the most that this control plane serves"
        self._capacity_log.update(problem, most=self.max_streams)
        if problem:
            self.observe(Event.CAPPED)
            raise CapacityError(problem)

    def _remember(self, uuid: str) -> dict[str, str]:
        rejected = self._seen.setdefault(uuid, {})
        self._seen.move_to_end(uuid)
        if len(self._seen) > self._remembered:
            self._seen.popitem(last=False)
        return rejected

    def record_rejection(self, name: ProxyName, rejection: Rejection) -> None:
        """Count and log a NACK, once for each proxy, type and version."""
        rejected = self._remember(name.uuid)
        if rejected.get(rejection.type_url) == rejection.version:
            return
        rejected[rejection.type_url] = rejection.version
        self.observe(Event.REJECTED, type_url=rejection.type_url)
        self._rejection_log.error(
            "a proxy rejected its configuration",
            proxy=name.uuid,
            identity=str(name.identity),
            type=rejection.type_url,
            version=rejection.version,
            error=rejection.detail,
        )

    async def broadcast(self) -> None:
        """Wake streams whenever they have a new snapshot, in batches, so that the event loop is not blocked.

        Runs until it is cancelled.
        """
        seen = self._cache.published.version
        while True:
            seen = await self._cache.published.after(seen)
            self.observe(Event.BROADCAST)
            async for stream in _in_batches([stream for stream in self._streams.values() if stream.behind]):
                stream.wake()

    async def recheck(self, admit: Admit) -> None:
        """Wake the streams of proxies that left the mesh, so that they end: their certificates may still be valid."""
        async for stream in _in_batches(list(self._streams.values())):
            try:
                admit(stream.name)
            except NotAdmittedError:
                stream.wake()

    async def end_all(self) -> None:
        """Refuse new streams from now on, and end all streams with status OK, in batches."""
        self._draining = True
        async for stream in _in_batches([*self._streams.values(), *self._canaries]):
            stream.end()


async def _in_batches(streams: Iterable[RegisteredStream]) -> AsyncIterator[RegisteredStream]:
    for index, stream in enumerate(streams, start=1):
        yield stream
        if index % _BATCH == 0:
            await asyncio.sleep(0)
