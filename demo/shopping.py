"""The bookbuyer's app at work: a steady stream of requests, and what came of them."""

import json
from dataclasses import dataclass

from demo.processes import Process


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of the requests: how many ended with which status or error, over how long. Times in seconds."""

    requests: int
    outcomes: dict[str, int]
    seconds: float
    slowest: float

    @property
    def lost(self) -> int:
        """Requests without a 200."""
        return self.requests - self.outcomes.get("200", 0)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Shopping:
    """The app while it asks."""

    process: Process

    def finish(self) -> Receipt:
        """Stop asking and count."""
        self.process.stop(grace=10.0)
        return Receipt(**json.loads(self.process.last_line()))
