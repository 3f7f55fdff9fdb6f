"""A steady stream of requests from the bookbuyer, and its results."""

import json
from dataclasses import dataclass

from demo.processes import Process


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The results of a request stream.

    outcomes: HTTP status or error name -> number of requests. seconds: from the first request to the last. slowest: the
    longest duration of a request, in seconds.
    """

    requests: int
    outcomes: dict[str, int]
    seconds: float
    slowest: float

    @property
    def lost(self) -> int:
        """The number of requests that did not get a 200."""
        return self.requests - self.outcomes.get("200", 0)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """A bookbuyer that is sending requests."""

    process: Process

    def finish(self) -> LoadResult:
        """Stop the requests and return their results."""
        self.process.stop(grace=10.0)
        return LoadResult(**json.loads(self.process.last_line()))
