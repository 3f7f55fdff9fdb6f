"""Listening socket -> grpc.health.v1: the rulings of HTTP for a kubelet's gRPC probe and for those who watch.

Bounded like the HTTP beside it: connections, calls, unread answers, and the age of all of them.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import background_tasks
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.grpc_health.connection import Connection
from osm_probes.judge.grpc_health.messages import Status
from osm_probes.judge.grpc_health.session import Asked, Code, Method
from osm_probes.judge.transitions import VerdictWatch, verdict

GRPC_CONNECTIONS: Final = 32

_PROBES: Final = {"": "ready", "readiness": "ready", "liveness": "alive"}
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE: Final = 0.1

Answered = Callable[[str, str], None]
"""Counts a call: its path and what was said first."""


class GrpcHealth:
    """Answers Check and Watch by the bench's rulings."""

    def __init__(
        self,
        evaluator: ProbeEvaluator,
        verdicts: VerdictWatch,
        *,
        answered: Answered,
        connections: int = GRPC_CONNECTIONS,
    ) -> None:
        self._evaluator = evaluator
        self._verdicts = verdicts
        self._answered = answered
        self._limit = connections
        self._open: dict[asyncio.Task[None], Connection] = {}

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Accept and answer while this is open."""
        async with asyncio.TaskGroup() as tasks, background_tasks(accept=self._accept(listener, tasks)):
            try:
                yield
            finally:
                for task in self._open:
                    task.cancel()

    async def _accept(self, listener: socket.socket, tasks: asyncio.TaskGroup) -> None:
        listener.settimeout(0.0)
        while True:
            try:
                accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            except ConnectionError:
                continue  # gone before it was accepted
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    # HTTP must not go with it; here silence is a no as well.
                    logger("grpc-health").error("the listening socket is lost", error=str(error))
                    return
                await self._make_room()
                continue
            await self._admit(accepted, tasks)
            await asyncio.sleep(0)  # a flood of connections must not hold the loop

    async def _admit(self, accepted: socket.socket, tasks: asyncio.TaskGroup) -> None:
        try:
            while len(self._open) >= self._limit:
                await self._make_room()
        except asyncio.CancelledError:
            accepted.close()
            raise
        connection = Connection(self._answer)
        task = tasks.create_task(connection.serve(accepted), name="grpc health connection")
        self._open[task] = connection
        task.add_done_callback(self._open.pop)

    async def _make_room(self) -> None:
        """Drop the oldest connection, one without a call if there is one."""
        if not self._open:
            await asyncio.sleep(_PAUSE)
            return
        oldest = min(self._open, key=lambda task: (self._open[task].busy, self._open[task].since))
        oldest.cancel()
        await asyncio.wait([oldest], timeout=_PAUSE)

    async def _answer(self, asked: Asked, connection: Connection) -> None:
        """Answer one call; a Watch has no end."""
        path = asked.method.value.decode()
        probe = _PROBES.get(asked.service)
        if probe is None and asked.method is Method.CHECK:
            self._answered(path, Code.NOT_FOUND.name)
            connection.refuse(asked.call, Code.NOT_FOUND, reason="there are liveness and readiness")
        elif probe is None:
            # The protocol has the call stay open: the service might come.
            self._answered(path, Status.SERVICE_UNKNOWN.name)
            connection.report(asked.call, Status.SERVICE_UNKNOWN)
            await asyncio.Event().wait()
        elif asked.method is Method.CHECK:
            status = _status(await verdict(self._evaluator, probe))
            self._answered(path, status.name)
            connection.report(asked.call, status, last=True)
        else:
            await self._watch(asked, probe, connection)

    async def _watch(self, asked: Asked, probe: str, connection: Connection) -> None:
        first = True
        async with contextlib.aclosing(self._verdicts.watch(self._evaluator, probe)) as changes:
            async for healthy in changes:
                if first:
                    self._answered(asked.method.value.decode(), _status(healthy).name)
                first = False
                connection.report(asked.call, _status(healthy))


def _status(healthy: bool) -> Status:  # noqa: FBT001 - a verdict is one
    return Status.SERVING if healthy else Status.NOT_SERVING
