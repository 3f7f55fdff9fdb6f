"""One value, many readers; a slow reader skips what it missed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest value of something that changes, for any number of readers on one event loop.

    Level-triggered: readers see the newest value, not every one, so there is no backlog and no lost wake-up.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._changed: asyncio.Event | None = None

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    @property
    def version(self) -> int:
        """How often the value has changed."""
        return self._version

    def set(self, value: T) -> bool:
        """Set a new value and wake all readers. An equal value is no change. Returns whether it changed."""
        if value == self._value:
            return False
        self._value = value
        self._version += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        return True

    async def after(self, version: int) -> int:
        """Wait until the version is greater than the given one; the version then."""
        while self._version <= version:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
        return self._version

    async def changed_after(self, version: int, *, within: float | None) -> bool:
        """Wait until the version is greater than the given one, at most so many seconds; whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.after(version)
                return True
        return False

    async def values(self) -> AsyncGenerator[T]:
        """The value now, then the newest one after each change, without an end."""
        seen = self._version
        yield self._value
        while True:
            seen = await self.after(seen)
            yield self._value


class Changes(Latest[int]):
    """An event that happens again and again, with no value of its own: how often it has happened.

    Level-triggered as every `Latest`: a reader that was busy during three of them sees one change.
    """

    def __init__(self) -> None:
        super().__init__(0)

    def notify(self) -> None:
        """It has happened: wake all readers."""
        self.set(self.value + 1)
