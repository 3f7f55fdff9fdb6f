from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Resource, Snapshot

ONE = Snapshot.of([Resource.of("a", CLUSTER, b"1")])
TWO = Snapshot.of([Resource.of("a", CLUSTER, b"2")])


def test_a_listener_sees_the_newest_snapshot() -> None:
    cache = SnapshotCache()
    with cache.listen("key") as snapshot:
        assert snapshot.value is None
        assert cache.publish("key", ONE)
        assert snapshot.value == ONE


def test_a_key_is_wanted_as_long_as_anybody_listens() -> None:
    cache = SnapshotCache()
    with cache.listen("key"):
        with cache.listen("key"):
            assert cache.wanted.value == {"key"}
        assert cache.wanted.value == {"key"}
    assert cache.wanted.value == frozenset()


def test_a_key_that_nobody_wants_keeps_nothing() -> None:
    cache = SnapshotCache()
    assert not cache.publish("key", ONE)
    with cache.listen("key") as snapshot:
        cache.publish("key", ONE)
    with cache.listen("key") as snapshot:
        assert snapshot.value is None


def test_wanted_keys_without_a_snapshot_are_missing() -> None:
    cache = SnapshotCache()
    with cache.listen("key"), cache.listen("other"):
        cache.publish("key", ONE)
        assert cache.missing == {"other"}


def test_only_what_changes_counts_as_published() -> None:
    cache = SnapshotCache()
    with cache.listen("key"):
        for snapshot in (ONE, ONE, TWO):
            cache.publish("key", snapshot)
        assert cache.published.value == 2
