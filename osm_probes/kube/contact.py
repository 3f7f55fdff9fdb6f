"""The outcome of each request -> since when the API server does not answer."""

import time
from collections.abc import Callable


class Contact:
    """Whether the API server answers the requests of one client, and since when not."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing_since: float | None = None

    @property
    def failing_for(self) -> float | None:
        """Seconds since the first failure after the last response; None if the last request got a response."""
        return None if self._failing_since is None else self._clock() - self._failing_since

    def record_response(self) -> None:
        """A request got a response, of any status."""
        self._failing_since = None

    def record_failure(self) -> None:
        """A request got no response."""
        if self._failing_since is None:
            self._failing_since = self._clock()
