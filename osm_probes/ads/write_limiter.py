"""Many writes at once -> a few: a burst of pushes never floods the loop, and nobody's slowness stops the others."""

import asyncio
from types import TracebackType


class WriteLimiter:
    """Lets `width` through at a time. Who takes longer than `patience` seconds no longer counts."""

    def __init__(self, *, width: int, patience: float) -> None:
        self._places = asyncio.Semaphore(width)
        self._patience = patience

    async def enter(self) -> "Passage":
        """Wait for a place; it is held until the passage's block ends or patience does."""
        await self._places.acquire()
        return Passage(self._places, self._patience)


class Passage:
    """A place in the turnstile."""

    def __init__(self, places: asyncio.Semaphore, patience: float) -> None:
        self._places: asyncio.Semaphore | None = places
        # Proxies that never read would hold all places and starve those that do.
        self._timer = asyncio.get_running_loop().call_later(patience, self._leave)

    def __enter__(self) -> None:
        """Do what the place is for."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the place back."""
        self._timer.cancel()
        self._leave()

    def _leave(self) -> None:
        if self._places is not None:
            self._places.release()
            self._places = None
