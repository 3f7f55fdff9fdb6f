"""Identity -> its newest snapshot. The publisher writes it, the ADS's streams read it."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from osm_probes.foundation.latest import Changes, Latest
from osm_probes.snapshot.snapshot import Snapshot


class SnapshotCache:
    """The newest snapshot of each key (an identity) that has at least one subscriber.

    `subscribed` has the keys that have subscribers. `published` notifies whenever a key gets a new snapshot.
    The last subscriber of a key takes its snapshot with it, so memory is used only for connected identities.
    """

    def __init__(self) -> None:
        self.subscribed: Latest[frozenset[Hashable]] = Latest(frozenset())
        self.published = Changes()
        self._subscribers: Counter[Hashable] = Counter()
        self._snapshots: dict[Hashable, Latest[Snapshot | None]] = {}

    @contextmanager
    def subscribe(self, key: Hashable) -> Iterator[Latest[Snapshot | None]]:
        """Subscribe to `key` while the block lasts: its newest snapshot, None until the first one is published."""
        self._subscribers[key] += 1
        snapshot = self._snapshots.setdefault(key, Latest(None))
        self._update_subscribed()
        try:
            yield snapshot
        finally:
            self._subscribers[key] -= 1
            if not self._subscribers[key]:
                del self._subscribers[key], self._snapshots[key]
                self._update_subscribed()

    @property
    def missing(self) -> frozenset[Hashable]:
        """The subscribed keys that have no snapshot yet."""
        return frozenset(key for key, latest in self._snapshots.items() if latest.value is None)

    def publish(self, key: Hashable, snapshot: Snapshot) -> bool:
        """Make `snapshot` the newest of `key` if the key has subscribers. True if this changed anything."""
        latest = self._snapshots.get(key)
        if latest is None or not latest.set(snapshot if latest.value is None else snapshot.reusing(latest.value)):
            return False
        self.published.notify()
        return True

    def _update_subscribed(self) -> None:
        if self._subscribers.keys() != self.subscribed.value:
            self.subscribed.set(frozenset(self._subscribers))
