"""Work that is under way -> since when: whether something takes too long."""

import time
from collections.abc import Callable, Hashable, Iterable


class Backlog:
    """Pieces of work by key, each with the time since when it is due, in seconds of `clock`.

    The steps that a change takes are keys: `move` hands it on to the next step without losing its time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[Hashable, float] = {}

    def add(self, key: Hashable) -> None:
        """This work is due now, if it is not due already."""
        self._since.setdefault(key, self._clock())

    def move(self, key: Hashable, to: Iterable[Hashable]) -> None:
        """Replace work by other work that is due since the same time. Nothing happens if it is not due."""
        since = self._since.pop(key, None)
        if since is not None:
            for target in to:
                self._since[target] = min(since, self._since.get(target, since))

    def remove(self, key: Hashable) -> None:
        """This work is done, or nobody needs it any more."""
        self._since.pop(key, None)

    def oldest(self) -> tuple[Hashable, float] | None:
        """The work that has been due for the longest time, and for how many seconds; None if there is none."""
        if not self._since:
            return None
        key, since = min(self._since.items(), key=lambda item: item[1])
        return key, self._clock() - since
