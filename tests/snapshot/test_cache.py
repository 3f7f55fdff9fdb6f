from osm_probes.snapshot.cache import CANARY, SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Resource, Snapshot
from tests.clock import Clock

ONE = Snapshot.of([Resource.of("a", CLUSTER, b"1")])
TWO = Snapshot.of([Resource.of("a", CLUSTER, b"2")])


def test_a_subscriber_gets_the_newest_snapshot() -> None:
    cache = SnapshotCache()
    with cache.subscribe("key") as snapshot:
        assert snapshot.value is None
        assert cache.publish("key", ONE)
        assert snapshot.value == ONE


def test_a_key_is_subscribed_until_its_last_subscriber_leaves() -> None:
    cache = SnapshotCache()
    with cache.subscribe("key"):
        with cache.subscribe("key"):
            assert cache.subscribed.value == {"key"}
        assert cache.subscribed.value == {"key"}
    assert cache.subscribed.value == frozenset()


def test_a_key_without_subscribers_keeps_no_snapshot() -> None:
    cache = SnapshotCache()
    assert not cache.publish("key", ONE)
    with cache.subscribe("key") as snapshot:
        cache.publish("key", ONE)
    with cache.subscribe("key") as snapshot:
        assert snapshot.value is None


def test_keys_wait_in_the_order_of_their_subscription_until_they_get_a_snapshot_or_it_is_given_up() -> None:
    clock = Clock()
    cache = SnapshotCache(clock=clock)
    with cache.subscribe("first"), cache.subscribe("second"), cache.subscribe("third"):
        assert cache.wanted.value == 3
        clock.now = 5
        with cache.subscribe("fourth"), cache.subscribe("first"):
            cache.publish("second", ONE)
            cache.give_up("third")
            assert list(cache.waiting.items()) == [("first", 0), ("fourth", 5)]
        assert list(cache.waiting) == ["first"]
    assert not cache.waiting


def test_the_canary_is_not_among_the_subscribed_keys() -> None:
    cache = SnapshotCache()
    with cache.subscribe(CANARY), cache.subscribe("key"):
        assert cache.subscribed.value == {"key"}
        assert list(cache.waiting) == [CANARY, "key"]


def test_published_keys_are_taken_once() -> None:
    cache = SnapshotCache()
    with cache.subscribe("one"), cache.subscribe("two"):
        cache.publish("one", ONE)
        cache.publish("two", ONE)
        assert cache.take_published() == {"one", "two"}
        cache.publish("two", ONE)
        assert cache.take_published() == frozenset()


def test_only_a_changed_snapshot_counts_as_published() -> None:
    cache = SnapshotCache()
    with cache.subscribe("key"):
        for snapshot in (ONE, ONE, TWO):
            cache.publish("key", snapshot)
        assert cache.published.value == 2
