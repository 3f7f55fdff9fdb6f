"""Listening socket -> grpc.health.v1: the same verdicts as over HTTP, for a kubelet's gRPC probe and for watchers.

Connections, calls, unread responses and the age of all of them are bounded, as they are for HTTP.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

from osm_probes.foundation.accept import Acceptor
from osm_probes.foundation.tasks import background_tasks
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.grpc_health.connection import Connection, Limits, SharedTime
from osm_probes.judge.grpc_health.messages import Status
from osm_probes.judge.grpc_health.session import Call, Code, Method
from osm_probes.judge.transitions import VerdictWatch, verdict

GRPC_CONNECTIONS: Final = 32

_PROBES: Final = {"": "ready", "readiness": "ready", "liveness": "alive"}

CountRequest = Callable[[str, str], None]
"""Counts a call: its path, and the first status that was sent."""


class GrpcHealth:
    """Answers Check and Watch."""

    def __init__(
        self,
        evaluator: ProbeEvaluator,
        watch: VerdictWatch,
        *,
        count: CountRequest,
        connections: int = GRPC_CONNECTIONS,
        limits: Limits | None = None,
    ) -> None:
        self._evaluator = evaluator
        self._watch_verdicts = watch
        self._count = count
        self._connections = connections
        self._limits = limits or Limits()

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve while the block lasts. Raises SocketLostError."""
        # busy=0: a Watch is always in flight, and must not keep new clients out.
        shared = SharedTime()
        acceptor = Acceptor(
            "grpc-health",
            new=lambda: Connection(self._answer, limits=self._limits, shared=shared),
            serve=lambda accepted, connection: connection.serve(accepted),
            limit=self._connections,
            busy=0.0,
        )
        async with acceptor, background_tasks(accept=acceptor.accept(listener)):
            yield

    async def _answer(self, call: Call, connection: Connection) -> None:
        """Answer one call; a Watch has no end."""
        path = call.method.value.decode()
        probe = _PROBES.get(call.service)
        if probe is None and call.method is Method.CHECK:
            self._count(path, Code.NOT_FOUND.name)
            connection.refuse(call.id, Code.NOT_FOUND, reason="there are liveness and readiness")
        elif probe is None:
            # The protocol keeps the call open: the service may appear later.
            self._count(path, Status.SERVICE_UNKNOWN.name)
            connection.report(call.id, Status.SERVICE_UNKNOWN)
            await asyncio.Event().wait()
        elif call.method is Method.CHECK:
            status = _status(await verdict(self._evaluator, probe))
            self._count(path, status.name)
            connection.report(call.id, status, last=True)
        else:
            await self._watch(call, probe, connection)

    async def _watch(self, call: Call, probe: str, connection: Connection) -> None:
        first = True
        async with contextlib.aclosing(self._watch_verdicts.watch(self._evaluator, probe)) as verdicts:
            async for healthy in verdicts:
                if first:
                    self._count(call.method.value.decode(), _status(healthy).name)
                first = False
                connection.report(call.id, _status(healthy))


def _status(healthy: bool) -> Status:  # noqa: FBT001 - a verdict is one
    return Status.SERVING if healthy else Status.NOT_SERVING
