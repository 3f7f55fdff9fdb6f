"""The ADS: proxies' gRPC streams, over mTLS, on one port that outlives its certificates."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import grpc
import grpc.aio

from osm_probes.ads import canary_resource
from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.delta import Incremental
from osm_probes.ads.errors import AddressInUseError, CapacityError, DrainingError, NotAdmittedError
from osm_probes.ads.events import ConnectedProxy, Event, Observer
from osm_probes.ads.limits import Limits, channel_options
from osm_probes.ads.listen import ListenConfig, bind
from osm_probes.ads.session import XdsSession
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.ads.stream import Ending, Stream, StreamContext
from osm_probes.ads.streams import Streams
from osm_probes.ads.write_limiter import WriteLimiter
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.listening import OwnSocket
from osm_probes.health.recovery import recover
from osm_probes.health.supervise import supervised
from osm_probes.mesh.identity import CANARY, ProxyName
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import Snapshot

_SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_WRITES_AT_ONCE: Final = 16
_SLOW_WRITE: Final = 0.05
_HAND_OVER_PAUSE: Final = 0.001
# Not a time: it would be over after a stop of the process, and could cut off a server that is half begun.
_HAND_OVER_TRIES: Final = 500
# Where nobody drained first: a program that ends by an error.
_LAST_DRAIN: Final = 2.0

_LOGGED: Final = (
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)

Context = grpc.aio.ServicerContext[bytes, bytes]


def _unobserved(_event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
    """For who does not count."""


class AdsServer:
    """Serves what `cache` has to the proxies that `authenticator` lets in; the cache is asked by identity.

    `lifecycle` becomes SERVING when the port listens, RECOVERING if it no longer does, FAILED if it cannot be had back,
    STOPPED after a drain.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        cache: SnapshotCache,
        *,
        authenticator: Authenticator,
        listen_config: ListenConfig,
        limits: Limits | None = None,
        observe: Observer = _unobserved,
    ) -> None:
        self._lifecycle = lifecycle
        self._cache = cache
        self._listen_config = listen_config
        self._limits = limits or Limits()
        self._streams = Streams(cache, observe=observe)
        write_limiter = WriteLimiter(width=_WRITES_AT_ONCE, patience=_SLOW_WRITE)
        self._context = StreamContext(authenticator, self._limits, self._streams, write_limiter)
        self._canary: Latest[Snapshot | None] = Latest(canary_resource.snapshot())
        self._server = self._make()
        self._replaced: list[grpc.aio.Server] = []
        self._retired: set[grpc.aio.Server] = set()
        self._succeeded: Latest[int] = Latest(0)
        self._changing = asyncio.Lock()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listen_config.port

    @property
    def proxies(self) -> tuple[ConnectedProxy, ...]:
        """The connected proxies; the canary is none."""
        return self._streams.proxies

    @property
    def max_streams(self) -> int:
        """How many proxies are served at most; 0 = no limit. May be changed at any time."""
        return self._streams.most

    @max_streams.setter
    def max_streams(self, most: int) -> None:
        self._streams.most = most

    @property
    def full(self) -> bool:
        """Whether one more proxy would be refused."""
        return self._streams.full()

    async def recheck(self) -> None:
        """End the streams of proxies that the mesh does not know any more; call it when the mesh has changed."""
        await self._streams.recheck(self._context.authenticator.known)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator["AdsServer", None]:
        """Listen and serve while the block lasts; at its end drain what is still there.

        Raises AddressInUseError, ListenError or CredentialsError where it cannot listen.
        """
        self._listen_config = replace(self._listen_config, port=bind(self._server, self._listen_config))
        self._socket = OwnSocket(self._listen_config.bound_host, self._listen_config.port)
        self._socket.claim()
        await self._server.start()
        async with background_tasks(
            broadcast=supervised(self._lifecycle, self._streams.broadcast()),
            listener=supervised(self._lifecycle, self._stay()),
            retire=self._retire(),
        ):
            self._lifecycle.move(Phase.SERVING, reason=f"listening on {self._listen_config.address}")
            try:
                yield self
            finally:
                await self.drain(within=_LAST_DRAIN)

    async def renew(self, certificate: Certificate, *, root_pem: bytes = b"") -> None:
        """Show another certificate from now on, and trust other roots, if any are given.

        Streams live on: the old server keeps them, a new one gets the port.

        Dials within about two milliseconds are refused. A port that is not had back at once is a lost listener.
        """
        self._listen_config = replace(
            self._listen_config, certificate=certificate, root_pem=root_pem or self._listen_config.root_pem
        )
        async with self._changing:
            if self._lifecycle.phase is not Phase.SERVING:
                return
            self._succeed()
            try:
                await self._take_over()
            except OsmError as error:
                await self._regain(f"a renewed certificate cannot be served: {error}")

    async def drain(self, *, within: float) -> None:
        """Refuse new streams, end all cleanly in batches, stop; `within` seconds, after which the rest is cut."""
        if self._lifecycle.phase in (Phase.SERVING, Phase.RECOVERING):
            self._lifecycle.move(Phase.DRAINING, reason="asked to stop")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.gather(self._streams.end_all(), self._stop(grace=within * 0.8))
        if self._lifecycle.phase is Phase.DRAINING:
            self._lifecycle.move(Phase.STOPPED, reason="drained")

    async def _stop(self, *, grace: float) -> None:
        # grpc crashes the process where a server is stopped while it begins: whoever changes it gives up first.
        async with self._changing:
            servers = (self._server, *self._replaced, *self._retired)
            await asyncio.gather(*(server.stop(grace) for server in servers))

    async def _stay(self) -> None:
        """Listen again whenever the listening socket is lost; grpc does not tell."""
        while True:
            await self._socket.lost(every=self._limits.look_every)
            await self._recover()

    async def _recover(self) -> None:
        """Streams outlive their listener: those that are open stay on the old server, as after a hand-over."""
        async with self._changing:
            if self._lifecycle.phase is not Phase.SERVING or self._socket.listens():
                return
            self._succeed()
            await self._regain(f"nothing of ours listens on {self._listen_config.address}")

    async def _regain(self, reason: str) -> None:
        """RECOVERING, then SERVING, or FAILED where the port cannot be had back in time."""
        try:
            await recover(self._lifecycle, self._listen, reason=reason, within=self._limits.recover)
        except OsmError as error:
            self._lifecycle.move(Phase.FAILED, reason=str(error))
            logger("ads").error("a component failed", error=str(error))

    def _succeed(self) -> None:
        """A new server, not listening yet; the old one gives its port back."""
        self._replaced.append(self._server)
        self._server = self._make()
        self._succeeded.set(self._succeeded.value + 1)

    async def _listen(self) -> None:
        bind(self._server, self._listen_config)
        self._socket.claim()
        starting = asyncio.ensure_future(self._server.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # One that is half begun could not be stopped.
            await starting
            raise

    async def _retire(self) -> None:
        """Stop each server that has a successor: its port is free at once, its streams live out their age."""
        async with asyncio.TaskGroup() as stopping:
            async for _ in self._succeeded.values():
                while self._replaced:
                    stopping.create_task(self._outlive(self._replaced.pop()), name="retired ads server")

    async def _outlive(self, old: grpc.aio.Server) -> None:
        self._retired.add(old)
        await old.stop(self._limits.grace)
        self._retired.discard(old)

    async def _take_over(self) -> None:
        """Listen as soon as the old server's sockets are closed, on a thread of grpc's. Raises as `bind` does."""
        for left in reversed(range(_HAND_OVER_TRIES)):
            await asyncio.sleep(_HAND_OVER_PAUSE)
            # Who is asked to stop meanwhile begins nothing.
            if self._lifecycle.phase is not Phase.SERVING:
                return
            try:
                await self._listen()
            except AddressInUseError:
                if not left:
                    raise
            else:
                return

    def _make(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=channel_options(self._limits))
        # No serializers: requests and responses are bytes.
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self._sotw),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._delta),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        return server

    async def _sotw(self, _requests: object, context: Context) -> None:
        await self._handle(StateOfTheWorld(), context)

    async def _delta(self, _requests: object, context: Context) -> None:
        await self._handle(Incremental(), context)

    async def _handle(self, session: XdsSession, context: Context) -> None:
        try:
            ending = await self._run(session, context)
        except Exception as error:
            # grpc would send the exception's text to the proxy.
            logger("ads").error("a stream broke", error=f"{type(error).__name__}: {error}")
            ending = Ending(grpc.StatusCode.INTERNAL, "internal error")
        if ending.code in _LOGGED:
            logger("ads").warning("a stream was ended", peer=context.peer(), error=ending.text)
        if ending.code is not grpc.StatusCode.OK:
            await context.abort(ending.code, ending.text)

    async def _run(self, session: XdsSession, context: Context) -> Ending:
        try:
            name = self._context.authenticator.identify(context.auth_context())
            with self._snapshots(name) as snapshots:
                stream = Stream(name, session, line=context, snapshots=snapshots, context=self._context)
                with self._streams.joined(stream):
                    ending = await stream.run()
            await stream.settle(within=self._limits.grace)
            return ending
        except NotAdmittedError as error:
            return Ending(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except CapacityError as error:
            return Ending(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except DrainingError as error:
            return Ending(grpc.StatusCode.UNAVAILABLE, str(error))

    def _snapshots(self, name: ProxyName) -> contextlib.AbstractContextManager[Latest[Snapshot | None]]:
        if name.kind == CANARY:
            return contextlib.nullcontext(self._canary)
        return self._cache.listen(name.identity)
