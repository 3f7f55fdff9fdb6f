"""One stream's input and output: what the proxy says goes to its session, what the session says goes to the proxy."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final, Protocol

import grpc.aio

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.errors import MalformedRequestError, NotAdmittedError
from osm_probes.ads.events import ConnectedProxy, Event, Rejection
from osm_probes.ads.limits import Limits
from osm_probes.ads.session import HandledRequest, Response, Verdict, XdsSession
from osm_probes.ads.streams import Streams
from osm_probes.ads.write_limiter import WriteLimiter
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.identity import CANARY, ProxyName
from osm_probes.snapshot.snapshot import CLUSTER, Snapshot


class Line(Protocol):
    """The two directions of a gRPC stream."""

    async def read(self) -> object:
        """The next message as bytes, or grpc.aio.EOF."""

    async def write(self, message: bytes, /) -> None:
        """Send a message; returns when the transport took it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ends: OK is a clean end, after which a proxy comes again soon."""

    code: grpc.StatusCode
    text: str = ""


CLEAN: Final = Ending(grpc.StatusCode.OK)


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What all streams share."""

    authenticator: Authenticator
    limits: Limits
    streams: Streams
    write_limiter: WriteLimiter


class Stream:
    """One proxy's stream, from its first request to its end."""

    def __init__(
        self,
        name: ProxyName,
        session: XdsSession,
        *,
        line: Line,
        snapshots: Latest[Snapshot | None],
        context: StreamContext,
    ) -> None:
        self.name = name
        self._session = session
        self._line = line
        self._snapshots = snapshots
        self._context = context
        self._seen = -1
        self._awake = asyncio.Event()
        self._ending: Ending | None = None
        self._unsent: asyncio.Future[None] | None = None
        self._since = time.monotonic()
        self._accepted: dict[str, str] = {}
        self._rejection: Rejection | None = None

    @property
    def behind(self) -> bool:
        """Whether there is a snapshot that it has not looked at."""
        return self._snapshots.version > self._seen

    def wake(self) -> None:
        """Look whether there is something to say."""
        self._awake.set()

    def end(self, ending: Ending = CLEAN) -> None:
        """End, soon; the first reason counts."""
        self._ending = self._ending or ending
        self._awake.set()

    def facts(self) -> ConnectedProxy:
        """What is known of its proxy."""
        form = type(self._session).__name__
        return ConnectedProxy(self.name, form, time.monotonic() - self._since, dict(self._accepted), self._rejection)

    async def run(self) -> Ending:
        """Serve until somebody ends it."""
        old = asyncio.get_running_loop().call_later(self._context.limits.age(), self.end)
        try:
            async with background_tasks(listen=self._listen()):
                await self._speak()
        finally:
            old.cancel()
        return self._ending or CLEAN

    async def settle(self, *, within: float) -> None:
        """Wait for the write that the proxy did not take: until it is over, grpc cannot say how the stream ends."""
        if self._unsent is None:
            return
        try:
            async with asyncio.timeout(within):
                await self._unsent
        except (TimeoutError, grpc.aio.BaseError):
            return

    async def _listen(self) -> None:
        budget = _Budget(self._context.limits.requests_per_second)
        while isinstance(request := await self._line.read(), bytes):
            self._take(request)
            self.wake()
            await budget.spend()
        self.end()

    def _take(self, request: bytes) -> None:
        try:
            self._note(self._session.hear(request))
        except MalformedRequestError as error:
            self.end(Ending(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except NotAdmittedError as error:
            self.end(Ending(grpc.StatusCode.PERMISSION_DENIED, str(error)))

    def _note(self, heard: HandledRequest) -> None:
        """Check who speaks, and keep the facts."""
        if heard.node:
            self._context.authenticator.check_node(heard.node, proxy=self.name)
        if self.name.kind == CANARY:
            if heard.type_url != CLUSTER:
                raise NotAdmittedError("a canary may ask for its one cluster alone")
            return
        self._context.streams.observe(Event.REQUESTED, type_url=heard.type_url)
        if heard.verdict is Verdict.ACCEPTED:
            self._accepted[heard.type_url] = heard.version
        elif heard.verdict is Verdict.REJECTED:
            self._rejection = Rejection(heard.type_url, heard.version, heard.detail)
            self._context.streams.reject(self.name, self._rejection)

    async def _speak(self) -> None:
        while self._ending is None:
            self._awake.clear()
            self._seen = self._snapshots.version
            if self._snapshots.value is not None:
                await self._say(self._snapshots.value)
            if not self.behind and self._ending is None:
                await self._awake.wait()

    async def _say(self, snapshot: Snapshot) -> None:
        """Write what brings the proxy nearer to `snapshot`, until nothing is left or a newer one is there."""
        try:
            # Known only now: before the first snapshot the mesh is not there to be asked.
            self._context.authenticator.admit(self.name)
        except NotAdmittedError as error:
            self.end(Ending(grpc.StatusCode.PERMISSION_DENIED, str(error)))
        while self._ending is None and not self.behind and (response := self._session.answer(snapshot)):
            await self._write(response)

    async def _write(self, response: Response) -> None:
        started = time.monotonic()
        event = Event.SENT
        try:
            with await self._context.write_limiter.enter():
                if not await self._wrote(response.body):
                    event = Event.UNSENT
                    text = f"the proxy read nothing for {self._context.limits.write:g} s"
                    self.end(Ending(grpc.StatusCode.DEADLINE_EXCEEDED, text))
        except grpc.aio.BaseError:
            # The proxy is gone; the reading side learns it too.
            event = Event.UNSENT
            self.end()
        if self.name.kind != CANARY:
            took = time.monotonic() - started
            self._context.streams.observe(event, type_url=response.type_url, seconds=took)

    async def _wrote(self, body: bytes) -> bool:
        """Write; False where the proxy did not take it in time: the write then stays under way."""
        writing = asyncio.ensure_future(self._line.write(body))
        try:
            done, _ = await asyncio.wait({writing}, timeout=self._context.limits.write)
        except asyncio.CancelledError:
            writing.cancel()
            raise
        if not done:
            self._unsent = writing
            return False
        await writing
        return True


class _Budget:
    """So many requests a second; who sends more is read later."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._left = rate
        self._second = time.monotonic()

    async def spend(self) -> None:
        """Take one from the budget, waiting where it is used up."""
        self._left -= 1
        if self._left > 0:
            return
        await asyncio.sleep(max(0.0, self._second + 1 - time.monotonic()))
        self._left, self._second = self._rate, time.monotonic()
