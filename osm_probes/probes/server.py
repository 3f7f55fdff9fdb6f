"""Listening socket -> the probes: a bounded number of connections, none of which can hold up the others."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

from osm_probes.foundation.tasks import beside
from osm_probes.http.message import Handler
from osm_probes.http.server import HttpServer, Limits

CONNECTIONS: Final = 256
_IDLE: Final = 60.0  # between two requests of one connection, as Prometheus keeps it


@contextlib.asynccontextmanager
async def serving(
    listener: socket.socket, handler: Handler, *, malformed: Callable[[], None], connections: int = CONNECTIONS
) -> AsyncIterator[None]:
    """Accept and answer while this is open; `malformed` is called for each request that never reaches the handler."""
    # A probe that takes long makes room too: a crowd that waits for ready must not keep alive from its answer.
    limits = Limits(connections, idle=_IDLE, busy=0.0)
    async with (
        HttpServer(handler, limits=limits, malformed=malformed) as server,
        beside(accept=server.accept(listener)),
    ):
        yield
