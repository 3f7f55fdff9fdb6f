"""Vocabulary: where the publisher puts snapshots and the ADS finds them: identity -> newest snapshot."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from osm_probes.foundation.latest import Latest
from osm_probes.snapshot.snapshot import Snapshot


class SnapshotCache:
    """The newest snapshot of each wanted key (an identity), and which keys are wanted: those that somebody listens to.

    Both sides are level-triggered. A key without listeners is forgotten, so only connected identities cost anything.
    `published` counts up whenever any key got something new.
    """

    def __init__(self) -> None:
        self.wanted: Latest[frozenset[Hashable]] = Latest(frozenset())
        self.published: Latest[int] = Latest(0)
        self._listeners: Counter[Hashable] = Counter()
        self._snapshots: dict[Hashable, Latest[Snapshot | None]] = {}

    @contextmanager
    def listen(self, key: Hashable) -> Iterator[Latest[Snapshot | None]]:
        """The newest snapshot for `key`, None until the first is built, for as long as the block lasts."""
        self._listeners[key] += 1
        snapshot = self._snapshots.setdefault(key, Latest(None))
        self._tell()
        try:
            yield snapshot
        finally:
            self._listeners[key] -= 1
            if not self._listeners[key]:
                del self._listeners[key], self._snapshots[key]
                self._tell()

    @property
    def missing(self) -> frozenset[Hashable]:
        """The wanted keys that have no snapshot yet."""
        return frozenset(key for key, latest in self._snapshots.items() if latest.value is None)

    def publish(self, key: Hashable, snapshot: Snapshot) -> bool:
        """Make `snapshot` the newest for `key`, if somebody still listens. True if it changed anything."""
        latest = self._snapshots.get(key)
        if latest is None or not latest.set(snapshot if latest.value is None else snapshot.keeping(latest.value)):
            return False
        self.published.set(self.published.value + 1)
        return True

    def _tell(self) -> None:
        if self._listeners.keys() != self.wanted.value:
            self.wanted.set(frozenset(self._listeners))
