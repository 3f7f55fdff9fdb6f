"""A clock that a test sets."""


class Clock:
    """The time in seconds, as time.monotonic gives it. It stands still unless the test sets `now`."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
