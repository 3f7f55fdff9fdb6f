"""The ADS server: gRPC streams of proxies over mTLS, on one port that stays open when the certificate changes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import grpc

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.delta import Incremental
from osm_probes.ads.errors import AddressInUseError, CapacityError, DrainingError, NotAdmittedError
from osm_probes.ads.events import ConnectedProxy, Event, Observer
from osm_probes.ads.grpc_server import GrpcServer, ReplacedServers, Rpc
from osm_probes.ads.limits import Limits
from osm_probes.ads.listen import ListenConfig
from osm_probes.ads.progress import Progress
from osm_probes.ads.registry import StreamRegistry, snapshot_key
from osm_probes.ads.session import XdsSession
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.ads.stream import Stream, StreamContext, StreamStatus
from osm_probes.ads.traffic import TrafficLimiter
from osm_probes.ads.write_limiter import WriteLimiter
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.foundation.tasks import lasting_tasks, start
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.listening import OwnSocket
from osm_probes.health.recovery import recover
from osm_probes.health.supervise import supervised_tasks
from osm_probes.mesh.identity import ProxyName
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import Snapshot

_CONCURRENT_WRITES: Final = 16
_SLOW_WRITE: Final = 0.05
_HAND_OVER_PAUSE: Final = 0.001
# The drain at the end of `serving`, for a program that ends with an error and did not call `drain` before.
_LAST_DRAIN: Final = 2.0

_LOGGED: Final = (
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


def _ignore(_event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
    """The default observer."""


class AdsServer:
    """Serves the snapshots in `cache`, by identity, to the proxies that `authenticator` admits.

    `lifecycle` becomes SERVING when the port listens, RECOVERING when the listening socket is lost, FAILED when the
    port cannot be bound again, and STOPPED after a drain.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        cache: SnapshotCache,
        *,
        authenticator: Authenticator,
        listen_config: ListenConfig,
        limits: Limits | None = None,
        observe: Observer = _ignore,
    ) -> None:
        self._lifecycle = lifecycle
        self._cache = cache
        self._listen_config = listen_config
        self._limits = limits or Limits()
        self._registry = StreamRegistry(cache, observe=observe, check_every=self._limits.stream_check)
        write_limiter = WriteLimiter(limit=_CONCURRENT_WRITES, timeout=_SLOW_WRITE)
        self._shared = StreamContext(authenticator, self._limits, self._registry, write_limiter)
        self._traffic = TrafficLimiter(self._limits)
        self._stream_log = RateLimitedLog("ads")
        self._progress = Progress(lambda: self._server, limits=self._limits)
        self._server = self._new_server()
        self._replaced = ReplacedServers(grace=self._limits.longest_stream_age)
        self._server_lock = asyncio.Lock()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._listen_config.port

    @property
    def proxies(self) -> tuple[ConnectedProxy, ...]:
        """The connected proxies, without the canary. Safe to read from another thread."""
        return self._registry.proxies

    @property
    def registry(self) -> StreamRegistry:
        """All streams, with what proxies reject and which streams are stuck."""
        return self._registry

    @property
    def max_streams(self) -> int:
        """The maximum number of proxies; 0 means no limit. It may be changed at any time."""
        return self._registry.max_streams

    @max_streams.setter
    def max_streams(self, limit: int) -> None:
        self._registry.max_streams = limit

    @property
    def full(self) -> bool:
        """Whether one more proxy would be refused."""
        return self._registry.full

    def made_progress(self) -> bool:
        """Whether the ADS has made progress since the last call of this, as `Progress` defines it."""
        return self._progress.made()

    async def recheck(self) -> None:
        """End the streams of proxies that no longer belong to the mesh. Call it after each change of the mesh."""
        await self._registry.recheck(self._shared.authenticator.admit_proxy)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator["AdsServer", None]:
        """Listen and serve while the block lasts, then drain.

        Raises AddressInUseError, ListenError or CredentialsError if the server cannot listen.
        """
        self._listen_config = replace(self._listen_config, port=self._server.bind(self._listen_config))
        self._socket = OwnSocket(self._listen_config.bound_host, self._listen_config.port)
        self._socket.claim()
        await self._server.start()
        async with (
            lasting_tasks(monitor=self._registry.monitor.run, replaced=self._replaced.run),
            supervised_tasks(
                self._lifecycle,
                broadcast=self._registry.broadcast(),
                socket=self._watch_socket(),
                traffic=self._traffic.watch(self.port),
                own_call=self._progress.run(),
            ),
        ):
            self._lifecycle.move(Phase.SERVING, reason=f"listening on {self._listen_config.address}")
            try:
                yield self
            finally:
                await self.drain(within=_LAST_DRAIN)

    async def renew(self, certificate: Certificate, *, root_pem: bytes = b"") -> None:
        """Present another certificate from now on, and trust other roots if `root_pem` is not empty.

        A new server takes over the port, and the old server keeps its streams. For about two milliseconds new
        connections are refused. A port that cannot be bound again is handled like a lost listening socket.
        """
        self._listen_config = replace(
            self._listen_config, certificate=certificate, root_pem=root_pem or self._listen_config.root_pem
        )
        async with self._server_lock:
            if self._lifecycle.phase is not Phase.SERVING:
                return
            self._replace_server()
            try:
                await self._take_over_port()
            except OsmError as error:
                await self._rebind(f"a renewed certificate cannot be served: {error}")

    async def drain(self, *, within: float) -> None:
        """Refuse new streams, end all streams with status OK in batches, and stop; after `within` seconds, cut them."""
        if self._lifecycle.phase in (Phase.SERVING, Phase.RECOVERING):
            self._lifecycle.move(Phase.DRAINING, reason="asked to stop")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.gather(self._registry.end_all(), self._stop(grace=within * 0.8))
        if self._lifecycle.phase is Phase.DRAINING:
            self._lifecycle.move(Phase.STOPPED, reason="drained")

    async def _stop(self, *, grace: float) -> None:
        # Stopping a server while it starts crashes grpc. With the lock, a replacement in progress gives up first.
        async with self._server_lock:
            servers = (self._server, *self._replaced)
            await asyncio.gather(*(server.stop(grace) for server in servers))

    async def _watch_socket(self) -> None:
        """Bind the port again whenever the listening socket is lost, which grpc does not report."""
        while True:
            await self._socket.lost(every=self._limits.socket_check)
            await self._recover()

    async def _recover(self) -> None:
        """Replace the server. As in a hand-over, open streams stay on the old server."""
        async with self._server_lock:
            if self._lifecycle.phase is not Phase.SERVING or self._socket.listens():
                return
            self._replace_server()
            await self._rebind(f"no socket of this process listens on {self._listen_config.address}")

    async def _rebind(self, reason: str) -> None:
        """Become RECOVERING, then SERVING again, or FAILED if the port cannot be bound in time."""
        try:
            await recover(self._lifecycle, self._listen, reason=reason, within=self._limits.recovery)
        except OsmError as error:
            self._lifecycle.move(Phase.FAILED, reason=str(error))
            logger("ads").error("a component failed", error=str(error))

    def _replace_server(self) -> None:
        """Create a new server, which does not listen yet, and have the old one stopped, which frees the port."""
        self._replaced.add(self._server)
        self._server = self._new_server()

    async def _listen(self) -> None:
        self._server.bind(self._listen_config)
        self._socket.claim()
        starting = start(self._server.start(), name="ads server start")
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A server that is still starting cannot be stopped.
            await starting
            raise

    async def _take_over_port(self) -> None:
        """Listen as soon as a thread of grpc has closed the old server's sockets. Raises as ListenConfig.bind does."""
        for tries_left in reversed(range(self._limits.hand_over_tries)):
            await asyncio.sleep(_HAND_OVER_PAUSE)
            # A server that is draining meanwhile must not start.
            if self._lifecycle.phase is not Phase.SERVING:
                return
            try:
                await self._listen()
            except AddressInUseError:
                if not tries_left:
                    raise
            else:
                return

    def _new_server(self) -> GrpcServer:
        streams = {"StreamAggregatedResources": self._sotw, "DeltaAggregatedResources": self._delta}
        return GrpcServer(streams, limits=self._limits)

    async def _sotw(self, _requests: object, rpc: Rpc) -> None:
        await self._handle(StateOfTheWorld(), rpc)

    async def _delta(self, _requests: object, rpc: Rpc) -> None:
        await self._handle(Incremental(), rpc)

    async def _handle(self, session: XdsSession, rpc: Rpc) -> None:
        self._progress.count_call()
        try:
            status = await self._run(session, rpc)
        except Exception as error:
            # grpc would send the exception's text to the proxy.
            self._stream_log.error("a stream failed", error=f"{type(error).__name__}: {error}")
            status = StreamStatus(grpc.StatusCode.INTERNAL, "internal error")
        if status.code in _LOGGED:
            self._stream_log.warning("a stream was ended", peer=rpc.peer(), error=status.details)
        if status.code is not grpc.StatusCode.OK:
            await rpc.abort(status.code, status.details)

    async def _run(self, session: XdsSession, rpc: Rpc) -> StreamStatus:
        try:
            name = self._shared.authenticator.identify(rpc.auth_context())
            await self._registry.until_admitted(name, self._shared.authenticator.admit)
            with self._subscribe(name) as snapshots, self._traffic.counted(rpc) as counted:
                stream = Stream(name, session, rpc=counted, snapshots=snapshots, shared=self._shared)
                with self._registry.registered(stream):
                    status = await stream.run()
            await stream.finish_write(within=self._limits.longest_stream_age)
            return status
        except NotAdmittedError as error:
            return StreamStatus(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except CapacityError as error:
            return StreamStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except DrainingError as error:
            return StreamStatus(grpc.StatusCode.UNAVAILABLE, str(error))

    def _subscribe(self, name: ProxyName) -> contextlib.AbstractContextManager[Latest[Snapshot | None]]:
        return self._cache.subscribe(snapshot_key(name))
