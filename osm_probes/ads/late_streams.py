"""All streams, every second -> how long a newer snapshot has waited for its stream. No I/O."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from osm_probes.mesh.identity import ProxyName


class StreamProgress(Protocol):
    """What is needed of a stream."""

    @property
    def late_after(self) -> int | None:
        """The version of the snapshot that it processed last, if the ADS should process a newer one now."""


class LateStreams:
    """Remembers since when each stream has not processed a newer snapshot.

    A stream that goes from one snapshot to the next is not late, however fast newer ones come.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[ProxyName, tuple[int, float]] = {}

    def longest(self, streams: Iterable[tuple[ProxyName, StreamProgress]]) -> float:
        """For how many seconds the latest of these streams has been late; 0 if none is."""
        now = self._clock()
        late = ((name, stream.late_after) for name, stream in streams)
        versions = {name: version for name, version in late if version is not None}
        before, self._since = self._since, {}
        for name, version in versions.items():
            known = before.get(name)
            self._since[name] = known if known is not None and known[0] == version else (version, now)
        return max((now - since for _, since in self._since.values()), default=0.0)
