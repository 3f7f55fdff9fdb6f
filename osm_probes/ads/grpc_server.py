"""The gRPC servers of the ADS: bound, started, asked whether they answer, and stopped."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import grpc
import grpc.aio

from osm_probes.ads.limits import Limits, channel_options
from osm_probes.ads.listen import ListenConfig
from osm_probes.ads.own_call import OwnCall
from osm_probes.foundation.latest import Changes
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import TaskPool, end_of, finished

Rpc = grpc.aio.ServicerContext[bytes, bytes]
Handler = Callable[[object, Rpc], Awaitable[None]]

_SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"


class GrpcServer:
    """A server with these bidirectional streams, by the names of their methods. Requests and responses are bytes."""

    def __init__(self, streams: Mapping[str, Handler], *, limits: Limits) -> None:
        self._server = grpc.aio.server(options=channel_options(limits))
        # Without serializers, requests and responses are bytes.
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.stream_stream_rpc_method_handler(handler) for name, handler in streams.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        self._own_call = OwnCall(self._server)
        self._started = self._stopping = False

    @property
    def serving(self) -> bool:
        """Whether it must answer: it has started, and was not asked to stop."""
        return self._started and not self._stopping

    def bind(self, listen_config: ListenConfig) -> int:
        """Bind both ports and return the number of the one for proxies. Raises as ListenConfig.bind does."""
        self._own_call.bind()
        return listen_config.bind(self._server)

    async def start(self) -> None:
        """Serve. It must not be cancelled: a server that is still starting cannot be stopped."""
        await self._server.start()
        self._started = True

    async def failure(self, *, within: float) -> str:
        """Why it did not answer a call of this program within so many seconds; "" if it did."""
        return await self._own_call.failure(within=within)

    async def stop(self, grace: float | None) -> None:
        """Free the ports at once, and cut the streams that are still open after `grace` seconds; None = at once.

        It raises nothing: grpc raises what ended its task that accepts calls, a cancellation included.
        """
        self._stopping = True
        task = await finished(self._server.stop(grace), name="ads server stop")
        if task.cancelled() or task.exception() is not None:
            logger("ads").error("a server cannot be stopped cleanly", error=end_of(task))
        await self._own_call.close()


class ReplacedServers:
    """Servers that another one replaces: their ports are free at once, and their streams may reach the maximum age."""

    def __init__(self, *, grace: float) -> None:
        self._grace = grace
        self._waiting: list[GrpcServer] = []
        self._stopping: set[GrpcServer] = set()
        self._changes = Changes()

    def __iter__(self) -> Iterator[GrpcServer]:
        """Those that have not stopped yet."""
        return iter((*self._waiting, *self._stopping))

    def add(self, server: GrpcServer) -> None:
        """Have `run` stop this server."""
        self._waiting.append(server)
        self._changes.notify()

    async def run(self) -> None:
        """Stop the servers. Runs until it is cancelled."""
        async with TaskPool("ads") as pool:
            async for _ in self._changes.values():
                while self._waiting:
                    _ = pool.start(self._stop(self._waiting.pop()), name="stop of a replaced ads server")

    async def _stop(self, server: GrpcServer) -> None:
        self._stopping.add(server)
        await server.stop(self._grace)
        self._stopping.discard(server)
