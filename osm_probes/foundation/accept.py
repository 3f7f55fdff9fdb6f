"""Listening socket -> connections, a bounded number of them: no client can keep the others out."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from osm_probes.foundation.listen import SocketLostError
from osm_probes.foundation.tasks import TaskPool

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE: Final = 0.1


class Connection(Protocol):
    """A connection that is served."""

    @property
    def busy(self) -> bool:
        """Whether a request is in flight."""

    @property
    def since(self) -> float:
        """When `busy` last changed, or the connection was made; on the monotonic clock."""


C = TypeVar("C", bound=Connection)


class Acceptor(Generic[C]):
    """Accepts connections while it is entered, `limit` at most; at its end all of them are dropped.

    If there is no room or no file descriptor for one more, the oldest idle connection is dropped; if none is idle, the
    oldest one whose request has been in flight for more than `busy` seconds; else the new connection waits.
    new: makes the connection of an accepted socket; serve: serves it, and closes the socket at its end.
    """

    def __init__(
        self,
        component: str,
        *,
        new: Callable[[], C],
        serve: Callable[[socket.socket, C], Coroutine[Any, Any, None]],
        limit: int,
        busy: float,
    ) -> None:
        self._name = f"{component} connection"
        self._new = new
        self._serve = serve
        self._limit = limit
        self._busy = busy
        self._tasks = TaskPool(component)
        self._open: dict[asyncio.Task[None], C] = {}

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, traceback)

    async def accept(self, listener: socket.socket) -> None:
        """Accept until cancelled. Raises SocketLostError."""
        loop = asyncio.get_running_loop()
        listener.settimeout(0.0)
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # the client went away first
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise SocketLostError(f"a listening socket is lost: {error.strerror or error}") from error
                await self._make_room()
                continue
            await self._admit(accepted)
            # An accept that need not wait does not yield: a flood of connections must not hold the loop.
            await asyncio.sleep(0)

    def drop(self, condition: Callable[[C], bool]) -> None:
        """Drop the connections for which the condition is true."""
        for task, connection in self._open.items():
            if condition(connection):
                task.cancel()

    async def _admit(self, accepted: socket.socket) -> None:
        try:
            while len(self._open) >= self._limit:
                await self._make_room()
        except asyncio.CancelledError:
            accepted.close()
            raise
        connection = self._new()
        task = self._tasks.start(self._serve(accepted, connection), name=self._name)
        self._open[task] = connection
        task.add_done_callback(lambda done: self._open.pop(done, None))

    async def _make_room(self) -> None:
        late = time.monotonic() - self._busy
        spare = [item for item in self._open.items() if not item[1].busy or item[1].since <= late]
        if not spare:
            await asyncio.sleep(_PAUSE)
            return
        oldest, _ = min(spare, key=lambda item: (item[1].busy, item[1].since))
        oldest.cancel()
        await asyncio.wait([oldest], timeout=_PAUSE)
