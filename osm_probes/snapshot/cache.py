"""Identity -> its newest snapshot. The publisher writes it, the ADS's streams read it."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from osm_probes.foundation.latest import Changes, Latest
from osm_probes.snapshot.snapshot import Snapshot

CANARY: Final = "canary"
"""The key of the canary's snapshot. It is no identity, and never among `subscribed`."""


class SnapshotCache:
    """The newest snapshot of each key (an identity, or CANARY) that has at least one subscriber.

    `subscribed` has the keys that have subscribers. `published` notifies whenever a key gets a new snapshot.
    `wanted` notifies whenever a key is subscribed that has no snapshot yet; `waiting` has these keys, the one that
    waits longest first, with the time since when, in seconds of `clock`.
    The last subscriber of a key takes its snapshot with it, so memory is used only for connected identities.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.subscribed: Latest[frozenset[Hashable]] = Latest(frozenset())
        self.published = Changes()
        self.wanted = Changes()
        self._clock = clock
        self._subscribers: Counter[Hashable] = Counter()
        self._snapshots: dict[Hashable, Latest[Snapshot | None]] = {}
        self._waiting: dict[Hashable, float] = {}
        self._published: set[Hashable] = set()

    @property
    def waiting(self) -> Mapping[Hashable, float]:
        """See the class."""
        return self._waiting

    @contextmanager
    def subscribe(self, key: Hashable) -> Iterator[Latest[Snapshot | None]]:
        """Subscribe to `key` while the block lasts: its newest snapshot, None until the first one is published."""
        self._subscribers[key] += 1
        snapshot = self._snapshots.setdefault(key, Latest(None))
        if self._subscribers[key] == 1:
            self._waiting[key] = self._clock()
            self._update_subscribed(key)
            self.wanted.notify()
        try:
            yield snapshot
        finally:
            self._subscribers[key] -= 1
            if not self._subscribers[key]:
                del self._subscribers[key], self._snapshots[key]
                self._waiting.pop(key, None)
                self._update_subscribed(key)

    def publish(self, key: Hashable, snapshot: Snapshot) -> bool:
        """Make `snapshot` the newest of `key` if the key has subscribers. True if this changed anything."""
        self._waiting.pop(key, None)
        latest = self._snapshots.get(key)
        if latest is None or not latest.set(snapshot if latest.value is None else snapshot.reusing(latest.value)):
            return False
        self._published.add(key)
        self.published.notify()
        return True

    def give_up(self, key: Hashable) -> None:
        """The snapshot of `key` cannot be built now: nothing is to be expected, so its subscribers no longer wait."""
        self._waiting.pop(key, None)

    def take_published(self) -> frozenset[Hashable]:
        """The keys that have got a new snapshot since the last call. There must be one caller only."""
        keys, self._published = frozenset(self._published), set()
        return keys

    def _update_subscribed(self, key: Hashable) -> None:
        if key != CANARY:
            self.subscribed.set(frozenset(self._subscribers) - {CANARY})
