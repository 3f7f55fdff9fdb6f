"""SIGTERM, SIGINT, SIGHUP and SIGQUIT -> a request to stop, from the program's first moment on.

Nothing heavy is imported here: until the handlers are installed, process 1 of a container ignores the signals.
"""

import os
import signal
from collections.abc import Callable
from types import FrameType

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def nothing() -> None:
    """The default of both hooks."""


class StopSignals:
    """Handles the signals from `install()` on, before an event loop runs. SIGUSR2 is ignored.

    Before `stop()` is awaited, nothing is served that would have to be drained: a signal ends the process at once, with
    status 0. From then on, the first signal is a request to stop; the second one ends the process at once, with status
    128 + its number. A SIGHUP that is ignored when the program starts stays ignored, as nohup wants.

    before_exit: called before a signal ends the process at once. on_quit: called at each SIGQUIT. Both run in the main
    thread, between any two of its instructions.
    """

    def __init__(self) -> None:
        self.before_exit: Callable[[], None] = nothing
        self.on_quit: Callable[[], None] = nothing
        self._request: Callable[[], object] | None = None
        self._requested = False

    def install(self) -> None:
        """Install the handlers. Call it in the main thread, as early as possible."""
        for number in _STOP:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        if signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    async def stop(self) -> None:
        """Wait for the request to stop."""
        import asyncio

        loop, requested = asyncio.get_running_loop(), asyncio.Event()
        self._request = lambda: loop.call_soon_threadsafe(requested.set)
        await requested.wait()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGQUIT:
            self.on_quit()
        if self._request is None:
            self.before_exit()
            os._exit(0)
        if self._requested:
            self.before_exit()
            os._exit(128 + number)
        self._requested = True
        self._request()
