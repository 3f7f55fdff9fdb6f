from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Resource, Snapshot

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


def test_subscribed_keys_without_a_snapshot_are_missing() -> None:
    cache = SnapshotCache()
    with cache.subscribe("key"), cache.subscribe("other"):
        cache.publish("key", ONE)
        assert cache.missing == {"other"}


def test_only_a_changed_snapshot_counts_as_published() -> None:
    cache = SnapshotCache()
    with cache.subscribe("key"):
        for snapshot in (ONE, ONE, TWO):
            cache.publish("key", snapshot)
        assert cache.published.value == 2
