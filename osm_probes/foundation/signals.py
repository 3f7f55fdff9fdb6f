"""Foundation: SIGTERM and SIGINT -> a wish to stop, from the program's first moment on."""

import asyncio
import os
import signal
from types import FrameType


class StopSignals:
    """Hears SIGTERM and SIGINT from `install()` on, before any event loop runs.

    As process 1 of a container a signal without a handler is ignored, and before heavy imports are done the default
    would end the process in the middle of its start with a status that is not 0; so `install()` comes before them.

    As long as nobody waits in `stop()` nothing is served that would have to be drained: a signal ends the process at
    once with status 0. Then the first signal is the wish to stop, and the second ends the process at once, with status
    128 + its number.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    def install(self) -> None:
        """Take over both signals. Call it from the main thread, as early as can be."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    async def stop(self) -> None:
        """Wait until a stop is asked for."""
        self._loop = asyncio.get_running_loop()
        await self._stop.wait()

    def _hear(self, number: int, _process: FrameType | None) -> None:
        if self._loop is None:
            os._exit(0)
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()
        # The event alone does not wake a loop that sleeps in its selector.
        self._loop.call_soon_threadsafe(lambda: None)
