"""SIGTERM and SIGINT -> a request to stop, from the program's first moment on."""

import asyncio
import os
import signal
from types import FrameType


class StopSignals:
    """Handles SIGTERM and SIGINT from `install()` on, before an event loop runs.

    The kernel ignores a signal without a handler in process 1 of a container, and elsewhere the default would end the
    process with a status that is not 0. So `install()` comes before all heavy imports.

    Before `stop()` is awaited, nothing is served that would have to be drained: a signal ends the process at once, with
    status 0. From then on, the first signal is a request to stop; the second one ends the process at once, with status
    128 + its number.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    def install(self) -> None:
        """Install the handlers. Call it in the main thread, as early as possible."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    async def stop(self) -> None:
        """Wait for the request to stop."""
        self._loop = asyncio.get_running_loop()
        await self._stop.wait()

    def _handle(self, number: int, _process: FrameType | None) -> None:
        if self._loop is None:
            os._exit(0)
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()
        # The event does not wake an event loop that waits in its selector.
        self._loop.call_soon_threadsafe(lambda: None)
