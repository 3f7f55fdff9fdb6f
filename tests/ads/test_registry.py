import asyncio
import contextlib

import pytest

from osm_probes.ads.errors import CapacityError, DrainingError
from osm_probes.ads.events import ConnectedProxy, Event, UnansweredResponse
from osm_probes.ads.registry import StreamRegistry
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.identity import CANARY, SIDECAR, Identity, ProxyName
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Snapshot
from tests.ads.client import BOOKSTORE, proxy_name
from tests.ads.running_ads import RecordingObserver
from tests.log_capture import capture_logs


class FakeStream:
    """A stream that counts calls."""

    def __init__(self, kind: str = SIDECAR, *, behind: int = 1, name: ProxyName | None = None) -> None:
        self.name: ProxyName = name or proxy_name(kind)
        self.behind = bool(behind)
        self.late_after: int | None = None
        self.woken = 0
        self.ended = 0
        self.stuck: tuple[UnansweredResponse, ...] = ()

    def wake(self) -> None:
        self.woken += 1

    def end(self) -> None:
        self.ended += 1

    def count_unanswered(self, seconds: float) -> None:
        """Nothing is unanswered."""

    def describe(self) -> ConnectedProxy:
        return ConnectedProxy(self.name, "", 0.0, {})


def new_registry(
    *, max_streams: int = 0, remembered: int = 100
) -> tuple[StreamRegistry, RecordingObserver, SnapshotCache]:
    cache, observer = SnapshotCache(), RecordingObserver()
    registry = StreamRegistry(cache, observe=observer, max_streams=max_streams, remembered=remembered)
    return registry, observer, cache


def test_without_a_limit_all_streams_are_accepted() -> None:
    registry, _, _ = new_registry()
    with registry.registered(FakeStream()), registry.registered(FakeStream()):
        assert (registry.count, registry.full) == (2, False)
    assert registry.count == 0


def test_the_limit_counts_proxies_but_not_the_canary_and_may_change() -> None:
    registry, observer, _ = new_registry(max_streams=1)
    with registry.registered(FakeStream(CANARY)), registry.registered(FakeStream()):
        assert registry.full
        with pytest.raises(CapacityError, match="1 proxies"), registry.registered(FakeStream()):
            pass
        with registry.registered(FakeStream(CANARY)):
            registry.max_streams = 2
        with registry.registered(FakeStream()):
            assert len(registry.proxies) == 2
    assert observer.events.count(Event.CAPPED) == 1


def test_reaching_the_limit_is_logged_once_and_its_end_once() -> None:
    registry, _, _ = new_registry(max_streams=1)
    with capture_logs() as logs:
        with registry.registered(FakeStream()):
            for _ in range(2):
                with pytest.raises(CapacityError), registry.registered(FakeStream()):
                    pass
        for _ in range(2):
            with registry.registered(FakeStream()):
                pass
    assert [entry["event"] for entry in logs] == ["no more proxies are accepted", "proxies are accepted again"]


def test_a_new_stream_of_a_proxy_replaces_its_old_one() -> None:
    registry, observer, _ = new_registry(max_streams=1)
    old = FakeStream()
    new = FakeStream(name=old.name)
    with contextlib.ExitStack() as newest:
        with registry.registered(old):
            newest.enter_context(registry.registered(new))
            assert (old.ended, new.ended, registry.count) == (1, 0, 1)
        assert (registry.count, [proxy.name for proxy in registry.proxies]) == (1, [new.name])
    assert registry.count == 0
    assert observer.events == [Event.CONNECTED, Event.DISCONNECTED, Event.RECONNECTED, Event.DISCONNECTED]


def test_a_peer_with_the_same_uuid_and_another_identity_is_another_proxy() -> None:
    registry, observer, _ = new_registry()
    one = FakeStream()
    other = FakeStream(name=ProxyName(one.name.uuid, SIDECAR, Identity("evil", "evil")))
    with registry.registered(one):
        with registry.registered(other):
            assert (one.ended, registry.count) == (0, 2)
        assert [proxy.name for proxy in registry.proxies] == [one.name]
    assert observer.events.count(Event.RECONNECTED) == 0


def test_a_proxy_that_reconnects_keeps_its_place_when_the_limit_is_lower_now() -> None:
    registry, _, _ = new_registry(max_streams=2)
    old = FakeStream()
    new = FakeStream(name=old.name)
    with registry.registered(old), registry.registered(FakeStream()):
        registry.max_streams = 1
        with registry.registered(new):
            assert (old.ended, new.ended, registry.count) == (1, 0, 2)


async def test_a_drain_ends_all_streams_and_refuses_new_ones_including_the_canarys() -> None:
    registry, _, _ = new_registry()
    stream, canary = FakeStream(), FakeStream(CANARY)
    with registry.registered(stream), registry.registered(canary):
        await registry.end_all()
        assert (stream.ended, canary.ended) == (1, 1)
    for late in (FakeStream(), FakeStream(CANARY)):
        with pytest.raises(DrainingError), registry.registered(late):
            pass


async def test_a_new_snapshot_wakes_the_streams_that_are_behind_in_batches() -> None:
    registry, observer, cache = new_registry()
    streams = [FakeStream() for _ in range(50)]
    idle = FakeStream(behind=0)
    with contextlib.ExitStack() as stack:
        for stream in (*streams, idle):
            stack.enter_context(registry.registered(stream))
        stack.enter_context(cache.subscribe(BOOKSTORE))
        async with background_tasks(broadcast=registry.broadcast()):
            await asyncio.sleep(0)
            cache.publish(BOOKSTORE, Snapshot.of([]))
            woken = []
            while sum(stream.woken for stream in streams) < 50:
                await asyncio.sleep(0)
                woken.append(sum(stream.woken for stream in streams))
    assert sorted(set(woken) - {0}) == [20, 40, 50]
    assert (idle.woken, observer.events.count(Event.BROADCAST)) == (0, 1)


def test_a_proxy_that_was_connected_before_counts_as_reconnected() -> None:
    registry, observer, _ = new_registry()
    stream = FakeStream()
    for _ in range(2):
        with registry.registered(stream):
            pass
    assert observer.events == [Event.CONNECTED, Event.DISCONNECTED, Event.RECONNECTED, Event.DISCONNECTED]


def test_the_number_of_remembered_proxies_is_limited() -> None:
    registry, observer, _ = new_registry(remembered=3)
    first = FakeStream()
    with registry.registered(first):
        pass
    for _ in range(5):
        with registry.registered(FakeStream()):
            pass
        registry.rejections.record_nack(proxy_name(), CLUSTER, version="1", detail="no")
    assert len(registry._known) <= 3
    with registry.registered(first):
        assert observer.events[-1] is Event.CONNECTED
