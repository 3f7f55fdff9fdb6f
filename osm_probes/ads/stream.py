"""One gRPC stream: passes the proxy's requests to its session, and the session's responses to the proxy."""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import grpc.aio

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.errors import MalformedRequestError, NotAdmittedError
from osm_probes.ads.events import ConnectedProxy, Event, Rejection, UnansweredResponse
from osm_probes.ads.limits import Limits
from osm_probes.ads.operations import Operations
from osm_probes.ads.registry import StreamRegistry
from osm_probes.ads.session import HandledRequest, RequestKind, Response, XdsSession
from osm_probes.ads.subscription import PendingResponse
from osm_probes.ads.unanswered import UnansweredTime
from osm_probes.ads.write_limiter import WriteLimiter
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.foundation.text import legible, one_line
from osm_probes.mesh.identity import CANARY, ProxyName
from osm_probes.snapshot import canary_resource
from osm_probes.snapshot.snapshot import Snapshot

_MAX_DETAIL: Final = 500


class StreamRpc(Protocol):
    """The part of grpc's ServicerContext that a stream uses."""

    async def read(self) -> object:
        """The next message as bytes, or grpc.aio.EOF."""

    def write(self, message: bytes, /) -> Coroutine[Any, Any, None]:
        """Send a message. Returns when the transport has taken it."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The gRPC status that ends a stream. After OK the proxy reconnects soon."""

    code: grpc.StatusCode
    details: str = ""


OK: Final = StreamStatus(grpc.StatusCode.OK)


@dataclass(frozen=True, slots=True)
class StreamContext:
    """The objects that all streams share."""

    authenticator: Authenticator
    limits: Limits
    registry: StreamRegistry
    write_limiter: WriteLimiter
    operations: Operations = field(default_factory=Operations)


class Stream:
    """The stream of one proxy, from its first request to its end.

    stuck: the responses that the proxy should have answered long ago.
    """

    def __init__(
        self,
        name: ProxyName,
        session: XdsSession,
        *,
        rpc: StreamRpc,
        snapshots: Latest[Snapshot | None],
        shared: StreamContext,
    ) -> None:
        self.name = name
        self._session = session
        self._rpc = rpc
        self._snapshots = snapshots
        self._shared = shared
        self._processed_version = -1
        self._awake = asyncio.Event()
        self._status: StreamStatus | None = None
        self._unfinished_write: asyncio.Task[None] | None = None
        self._started_at = time.monotonic()
        self._accepted: dict[str, str] = {}
        self._rejection: Rejection | None = None
        self.stuck: tuple[UnansweredResponse, ...] = ()
        self._unanswered = UnansweredTime()
        self._writing = ""
        self._proxy_reads_slowly = False
        self._reads_late = False

    @property
    def behind(self) -> bool:
        """Whether there is a snapshot that the stream has not processed yet."""
        return self._snapshots.version > self._processed_version

    @property
    def late_after(self) -> int | None:
        """The version of the snapshot that it processed last, if the ADS should process a newer one now.

        None while the proxy does not read: then the delay is the proxy's own.
        """
        return self._processed_version if self.behind and not self._proxy_reads_slowly else None

    def wake(self) -> None:
        """Check whether there is something to send."""
        self._awake.set()

    def end(self, status: StreamStatus = OK) -> None:
        """End the stream soon. The status of the first call counts."""
        self._status = self._status or status
        self._awake.set()

    def describe(self) -> ConnectedProxy:
        """The state of the stream's proxy."""
        form = type(self._session).__name__
        age = time.monotonic() - self._started_at
        rejecting = self._shared.registry.rejections.of(self.name)
        return ConnectedProxy(self.name, form, age, dict(self._accepted), self._rejection, rejecting, self.stuck)

    def count_unanswered(self, seconds: float) -> None:
        """Add these seconds to the time of each response that the proxy has not answered.

        Not if requests were delayed meanwhile: the answer may be among those that are not read yet.
        """
        late, self._reads_late = self._reads_late, False
        self._unanswered.add(0.0 if late else seconds, self._sent())
        self._update_stuck()

    def _update_stuck(self) -> None:
        self.stuck = self._unanswered.longer_than(self._shared.limits.unanswered, self._sent())

    def _sent(self) -> Mapping[str, PendingResponse]:
        """The pending responses that the transport has taken."""
        return {url: response for url, response in self._session.pending.items() if response.nonce != self._writing}

    async def run(self) -> StreamStatus:
        """Serve the stream until it ends. Returns the status to send."""
        age = self._shared.limits.jittered_stream_age()
        age_timer = asyncio.get_running_loop().call_later(age, self.end)
        try:
            async with background_tasks(read_requests=self._read_requests()):
                await self._send_snapshots()
        finally:
            age_timer.cancel()
        return self._status or OK

    async def finish_write(self, *, within: float) -> None:
        """Wait for a write that timed out: grpc cannot send the status before that write has ended."""
        if self._unfinished_write is not None:
            await asyncio.wait({self._unfinished_write}, timeout=within)

    async def _read_requests(self) -> None:
        rate = _RateLimiter(self._shared.limits.requests_per_second)
        operations = self._shared.operations
        while isinstance(request := await operations.run(self._rpc.read(), name="ads read"), bytes):
            self._handle(request)
            self.wake()
            self._reads_late = await rate.acquire() or self._reads_late
        self.end()

    def _handle(self, request: bytes) -> None:
        try:
            self._record(self._session.handle_request(request))
        except MalformedRequestError as error:
            self.end(StreamStatus(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except NotAdmittedError as error:
            self.end(StreamStatus(grpc.StatusCode.PERMISSION_DENIED, str(error)))

    def _record(self, request: HandledRequest) -> None:
        """Check whether the peer may send this request, then report it and keep its facts."""
        if request.node_id:
            self._shared.authenticator.check_node_id(request.node_id, proxy=self.name)
        if self.name.kind == CANARY:
            if request.type_url not in canary_resource.TYPES:
                raise NotAdmittedError("the canary may subscribe only to clusters and listeners")
            return
        self._shared.registry.observe(Event.REQUESTED, type_url=request.type_url)
        if self.stuck:
            self._update_stuck()
        if request.kind is RequestKind.ACK:
            self._accepted[request.type_url] = request.version
            self._shared.registry.rejections.record_acceptance(self.name, request.type_url)
        elif request.kind is RequestKind.NACK:
            self._rejection = self._shared.registry.rejections.record_nack(
                self.name, request.type_url, version=request.version, detail=_readable(request.detail)
            )

    async def _send_snapshots(self) -> None:
        while self._status is None:
            self._awake.clear()
            self._processed_version = self._snapshots.version
            self._check_admission()
            if self._snapshots.value is not None and self._status is None:
                await self._send_snapshot(self._snapshots.value)
            if not self.behind and self._status is None:
                await self._awake.wait()

    def _check_admission(self) -> None:
        """End the stream if its proxy has left the mesh."""
        try:
            self._shared.authenticator.admit(self.name)
        except NotAdmittedError as error:
            self.end(StreamStatus(grpc.StatusCode.PERMISSION_DENIED, str(error)))

    async def _send_snapshot(self, snapshot: Snapshot) -> None:
        """Send responses until the proxy needs none for `snapshot`, or a newer snapshot exists."""
        while self._status is None and not self.behind:
            response = self._session.next_response(snapshot)
            if response is None:
                self._record_settled()
                return
            await self._send(response)

    def _record_settled(self) -> None:
        """A proxy may have what it should have without an ACK, such as after a reconnect."""
        rejections = self._shared.registry.rejections
        if rejections.of(self.name):
            for type_url in self._session.settled:
                rejections.record_acceptance(self.name, type_url)

    async def _send(self, response: Response) -> None:
        started = time.monotonic()
        event = Event.SENT
        self._writing = response.nonce
        try:
            with await self._shared.write_limiter.acquire():
                if not await self._write(response.body):
                    event = Event.UNSENT
                    text = f"the proxy read nothing for {self._shared.limits.write:g} s"
                    self.end(StreamStatus(grpc.StatusCode.DEADLINE_EXCEEDED, text))
        except grpc.aio.BaseError:
            # The proxy has disconnected. The task that reads its requests sees that, too.
            event = Event.UNSENT
            self.end()
        self._writing = ""
        if self.name.kind != CANARY:
            seconds = time.monotonic() - started
            self._shared.registry.observe(event, type_url=response.type_url, seconds=seconds)

    async def _write(self, body: bytes) -> bool:
        """Write a message. False if this timed out: the write then continues as `_unfinished_write`."""
        write = self._shared.operations.start(self._rpc.write(body), name="ads write")
        self._proxy_reads_slowly = True
        try:
            done, _ = await asyncio.wait({write}, timeout=self._shared.limits.write)
        finally:
            self._proxy_reads_slowly = False
        if not done:
            self._unfinished_write = write
            return False
        try:
            write.result()
        finally:
            del write, done  # see Operations.run
        return True


class _RateLimiter:
    """Delays the reading of further requests of a proxy that sends more than `rate` in a second."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._left = rate
        self._second = time.monotonic()

    async def acquire(self) -> bool:
        """Count one request. Sleeps for the rest of the second if the rate is reached, and then returns True."""
        self._left -= 1
        if self._left > 0:
            return False
        await asyncio.sleep(max(0.0, self._second + 1 - time.monotonic()))
        self._left, self._second = self._rate, time.monotonic()
        return True


def _readable(detail: str) -> str:
    """The proxy's text, which may be anything: one legible line of limited length."""
    return one_line(legible(detail[:_MAX_DETAIL]))
