"""A limit of concurrent writes: a push to many proxies must not block the event loop, nor slow proxies the others."""

import asyncio
from types import TracebackType


class WriteLimiter:
    """Lets `limit` writes run at the same time. A write that takes longer than `timeout` seconds no longer counts."""

    def __init__(self, *, limit: int, timeout: float) -> None:
        self._slots = asyncio.Semaphore(limit)
        self._timeout = timeout

    async def acquire(self) -> "WriteSlot":
        """Wait for a slot. It is released at the end of its `with` block or after the timeout, whichever is first."""
        await self._slots.acquire()
        return WriteSlot(self._slots, self._timeout)


class WriteSlot:
    """The permission for one write: a context manager around the write."""

    def __init__(self, slots: asyncio.Semaphore, timeout: float) -> None:
        self._slots: asyncio.Semaphore | None = slots
        # Without the timeout, proxies that do not read would hold all slots.
        self._timer = asyncio.get_running_loop().call_later(timeout, self._release)

    def __enter__(self) -> None:
        """The slot is already held."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the slot."""
        self._timer.cancel()
        self._release()

    def _release(self) -> None:
        if self._slots is not None:
            self._slots.release()
            self._slots = None
