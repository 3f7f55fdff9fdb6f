"""Calls that grpc accepts, of proxies or of this program itself -> whether the ADS makes progress."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from osm_probes.ads.grpc_threads import GrpcThreads
from osm_probes.ads.limits import Limits
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.foundation.tasks import start

_LOOK_EVERY: Final = 1.0


class Answerer(Protocol):
    """The part of GrpcServer that is used here."""

    @property
    def serving(self) -> bool:
        """Whether it must answer."""

    async def failure(self, *, within: float) -> str:
        """Why it did not answer a call of this program; "" if it did."""


class Saturation(Protocol):
    """The part of GrpcThreads that is used here."""

    def saturated(self) -> bool:
        """Whether grpc's threads had all the work that they can do, since the last look."""


class Progress:
    """What earns the heartbeat of the ADS.

    While its server serves, also in the delay before a drain, that is a call that grpc has accepted: a proxy's, the
    canary's, or the one that `run` makes four times a second. It went through grpc's threads, grpc's task that accepts
    calls, and the event loop. Messages on open streams are no progress, because they go on when no call is accepted any
    more; handshakes neither, because they go on without the event loop.

    An answer to the own call may be late because grpc's threads are busy, such as with thousands of handshakes and a
    small CPU quota. This is progress as well, until the own call fails, after `Limits.own_call`.

    While no server serves (before the start, in a hand-over or a recovery, and from the stop on), a running event loop
    is progress. Each of these has a time limit of its own.
    """

    def __init__(
        self,
        server: Callable[[], Answerer],
        *,
        limits: Limits,
        threads: Callable[[], Saturation] = GrpcThreads,
        look_every: float = _LOOK_EVERY,
    ) -> None:
        self._server = server
        self._limits = limits
        self._threads = threads
        self._look_every = look_every
        self._count = self._seen = 0
        self._answers = True
        self._log = ProblemLog(
            "ads", began="grpc does not answer this program", ended="grpc answers this program again", level="error"
        )

    def count_call(self) -> None:
        """A call was accepted."""
        self._count += 1

    def made(self) -> bool:
        """Whether there was progress since the last call of this."""
        seen, self._seen = self._seen, self._count
        return self._seen != seen or not self._server().serving

    async def run(self) -> None:
        """Call the server again and again. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(self._limits.own_call_every)
            server = self._server()
            if _serves(server):
                failure = await self._call(server)
                if not _serves(server):
                    failure = ""  # it was asked to stop meanwhile, and need not answer
                self._answers = not failure
                self._log.update(failure)

    async def _call(self, server: Answerer) -> str:
        call = start(server.failure(within=self._limits.own_call), name="ads own call")
        try:
            await self._until_done(call)
        finally:
            call.cancel()
        failure = call.result()
        self._count += not failure
        return failure

    async def _until_done(self, call: asyncio.Task[str]) -> None:
        done, _ = await asyncio.wait({call}, timeout=self._look_every)
        threads = self._threads() if not done else None
        while threads is not None and not call.done():
            await asyncio.wait({call}, timeout=self._look_every)
            if self._answers and threads.saturated():
                self._count += 1


def _serves(server: Answerer) -> bool:
    # A function, because the type checker takes a property for unchanged during an await.
    return server.serving
