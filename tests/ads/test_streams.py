import asyncio
import contextlib

import pytest

from osm_probes.ads.errors import CapacityError, DrainingError
from osm_probes.ads.events import ConnectedProxy, Event, Rejection
from osm_probes.ads.streams import Streams
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.identity import CANARY, SIDECAR, ProxyName
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Snapshot
from tests.ads.dial import BOOKSTORE, Counts, proxy_name


class Member:
    """A stream that only remembers."""

    def __init__(self, kind: str = SIDECAR, *, behind: int = 1, name: ProxyName | None = None) -> None:
        self.name: ProxyName = name or proxy_name(kind)
        self.behind = bool(behind)
        self.woken = 0
        self.ended = 0

    def wake(self) -> None:
        self.woken += 1

    def end(self) -> None:
        self.ended += 1

    def facts(self) -> ConnectedProxy:
        return ConnectedProxy(self.name, "", 0.0, {}, None)


def registry(*, most: int = 0) -> tuple[Streams, Counts, SnapshotCache]:
    cache, counts = SnapshotCache(), Counts()
    return Streams(cache, observe=counts, most=most), counts, cache


def test_without_a_limit_everybody_may_join() -> None:
    streams, _, _ = registry()
    with streams.joined(Member()), streams.joined(Member()):
        assert (streams.count, streams.full()) == (2, False)
    assert streams.count == 0


def test_a_limit_counts_proxies_and_not_the_canary_and_may_change() -> None:
    streams, counts, _ = registry(most=1)
    with streams.joined(Member(CANARY)), streams.joined(Member()):
        assert streams.full()
        with pytest.raises(CapacityError, match="1 proxies"), streams.joined(Member()):
            pass
        with streams.joined(Member(CANARY)):
            streams.most = 2
        with streams.joined(Member()):
            assert len(streams.proxies) == 2
    assert counts.events.count(Event.CAPPED) == 1


def test_a_proxy_has_one_place_and_its_newest_stream_has_it() -> None:
    streams, counts, _ = registry(most=1)
    older = Member()
    newer = Member(name=older.name)
    with contextlib.ExitStack() as newest:
        with streams.joined(older):
            newest.enter_context(streams.joined(newer))
            assert (older.ended, newer.ended, streams.count) == (1, 0, 1)
        assert (streams.count, [each.name for each in streams.proxies]) == (1, [newer.name])
    assert streams.count == 0
    assert counts.events == [Event.CONNECTED, Event.DISCONNECTED, Event.RECONNECTED, Event.DISCONNECTED]


async def test_after_the_end_nobody_may_join_not_even_the_canary() -> None:
    streams, _, _ = registry()
    member, canary = Member(), Member(CANARY)
    with streams.joined(member), streams.joined(canary):
        await streams.end_all()
        assert (member.ended, canary.ended) == (1, 1)
    for late in (Member(), Member(CANARY)):
        with pytest.raises(DrainingError), streams.joined(late):
            pass


async def test_a_new_snapshot_wakes_those_behind_a_few_at_a_time() -> None:
    streams, counts, cache = registry()
    members = [Member() for _ in range(50)]
    idle = Member(behind=0)
    with contextlib.ExitStack() as stack:
        for member in (*members, idle):
            stack.enter_context(streams.joined(member))
        stack.enter_context(cache.listen(BOOKSTORE))
        async with background_tasks(broadcast=streams.broadcast()):
            await asyncio.sleep(0)
            cache.publish(BOOKSTORE, Snapshot.of([]))
            woken = []
            while sum(member.woken for member in members) < 50:
                await asyncio.sleep(0)
                woken.append(sum(member.woken for member in members))
    assert sorted(set(woken) - {0}) == [20, 40, 50]
    assert (idle.woken, counts.events.count(Event.BROADCAST)) == (0, 1)


def test_a_proxy_seen_before_reconnects() -> None:
    streams, counts, _ = registry()
    member = Member()
    for _ in range(2):
        with streams.joined(member):
            pass
    assert counts.events == [Event.CONNECTED, Event.DISCONNECTED, Event.RECONNECTED, Event.DISCONNECTED]


def test_each_rejected_version_counts_once() -> None:
    streams, counts, _ = registry()
    name = proxy_name()
    for version in ("1", "1", "2"):
        streams.reject(name, Rejection(CLUSTER, version, "no"))
    assert counts.events == [Event.REJECTED, Event.REJECTED]


def test_the_memory_of_proxies_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osm_probes.ads.streams._REMEMBERED", 3)
    streams, _, _ = registry()
    for _ in range(5):
        with streams.joined(Member()):
            pass
        streams.reject(proxy_name(), Rejection(CLUSTER, "1", "no"))
    assert len(streams._known) <= 3
