"""All streams of the ADS: who is connected, how many at most; new snapshots wake them, a drain ends them."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from osm_probes.ads.authenticator import Admit
from osm_probes.ads.errors import CapacityError, DrainingError, NotAdmittedError
from osm_probes.ads.events import ConnectedProxy, Event, Observer, Rejection
from osm_probes.foundation.logs import logger
from osm_probes.mesh.identity import CANARY, ProxyName
from osm_probes.snapshot.cache import SnapshotCache

_BATCH: Final = 20
_REMEMBERED: Final = 20_000


class Member(Protocol):
    """What the registry needs of a stream."""

    @property
    def name(self) -> ProxyName:
        """Whose it is."""

    @property
    def behind(self) -> bool:
        """Whether there is a snapshot that it has not looked at."""

    def wake(self) -> None:
        """Look whether there is something to say."""

    def end(self) -> None:
        """End it cleanly, soon."""

    def facts(self) -> ConnectedProxy:
        """What is known of its proxy."""


class Streams:
    """The registry, of one stream a proxy. `most`: proxies at most, 0 = no limit; it may be changed at any time."""

    def __init__(self, cache: SnapshotCache, *, observe: Observer, most: int = 0) -> None:
        self.most = most
        self.observe = observe
        self._cache = cache
        self._members: dict[str, Member] = {}  # by uuid
        self._canaries: dict[Member, None] = {}
        # uuid -> type -> the rejected version that was logged last; also: who was here before.
        self._known: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._full = False
        self._closed = False

    @property
    def count(self) -> int:
        """How many streams of proxies there are."""
        return len(self._members)

    @property
    def proxies(self) -> tuple[ConnectedProxy, ...]:
        """The connected proxies; the canary is none. May be asked from another thread."""
        # list() copies in one step, beside which no stream can come or go.
        return tuple(member.facts() for member in list(self._members.values()))

    def full(self) -> bool:
        """Whether one more proxy would be refused."""
        return 0 < self.most <= self.count

    @contextmanager
    def joined(self, member: Member) -> Iterator[None]:
        """Count a stream as long as the block lasts. Raises CapacityError, DrainingError.

        A proxy has one: a newer one ends it, for it may come before the old connection is known to be dead.
        """
        if self._closed:
            raise DrainingError("this control plane is stopping")
        canary = member.name.kind == CANARY
        if canary:
            self._canaries[member] = None
        else:
            self._join(member)
        try:
            yield
        finally:
            if canary:
                del self._canaries[member]
            else:
                self._leave(member)

    def _join(self, member: Member) -> None:
        uuid = member.name.uuid
        if older := self._members.get(uuid):
            self._leave(older)
            older.end()
        self._count_in(uuid)
        self._members[uuid] = member

    def _leave(self, member: Member) -> None:
        """Counted out once: at its end, or when a newer one came."""
        if self._members.get(member.name.uuid) is member:
            del self._members[member.name.uuid]
            self.observe(Event.DISCONNECTED)

    def _count_in(self, uuid: str) -> None:
        if self.full():
            self.observe(Event.CAPPED)
            if not self._full:
                logger("ads").warning("no more proxies are accepted", most=self.most)
            self._full = True
            raise CapacityError(f"{self.most} proxies are connected, the most that this control plane serves")
        self._full = False
        self.observe(Event.RECONNECTED if uuid in self._known else Event.CONNECTED)
        self._remember(uuid)

    def _remember(self, uuid: str) -> dict[str, str]:
        known = self._known.setdefault(uuid, {})
        self._known.move_to_end(uuid)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

    def reject(self, name: ProxyName, rejection: Rejection) -> None:
        """A proxy refused a version: counted and logged once for each proxy, type and version."""
        known = self._remember(name.uuid)
        if known.get(rejection.type_url) == rejection.version:
            return
        known[rejection.type_url] = rejection.version
        self.observe(Event.REJECTED, type_url=rejection.type_url)
        logger("ads").error(
            "a proxy rejected its configuration",
            proxy=name.uuid,
            identity=str(name.identity),
            type=rejection.type_url,
            version=rejection.version,
            error=rejection.detail,
        )

    async def broadcast(self) -> None:
        """Wake the streams whose snapshot is new, a few at a time so that the loop never stalls. Without an end."""
        seen = self._cache.published.version
        while True:
            seen = await self._cache.published.after(seen)
            self.observe(Event.BROADCAST)
            async for member in _in_batches([each for each in self._members.values() if each.behind]):
                member.wake()

    async def recheck(self, admit: Admit) -> None:
        """Wake the streams of proxies that are no longer of the mesh, so that they end: their certificates live on."""
        async for member in _in_batches(list(self._members.values())):
            try:
                admit(member.name)
            except NotAdmittedError:
                member.wake()

    async def end_all(self) -> None:
        """Let nobody in any more and end all streams cleanly, a few at a time."""
        self._closed = True
        async for member in _in_batches([*self._members.values(), *self._canaries]):
            member.end()


async def _in_batches(members: Iterable[Member]) -> AsyncIterator[Member]:
    for index, member in enumerate(members, start=1):
        yield member
        if index % _BATCH == 0:
            await asyncio.sleep(0)
