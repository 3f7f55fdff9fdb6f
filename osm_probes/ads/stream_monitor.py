"""All streams, every few seconds -> stuck streams are ended, within limits, and counted.

A subscription is stuck if the transport has taken a response, and the proxy does not answer it: until it does, it gets
nothing more of that type, and stays on an old configuration. After its stream has ended the proxy reconnects, and both
sides start again. Because the fault may be on this side, the number of ended streams is limited.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from osm_probes.ads.events import Event, Observer, UnansweredResponse
from osm_probes.ads.known_proxies import KnownProxies
from osm_probes.ads.rejections import Rejections
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.mesh.identity import ProxyName

# A later wake-up than this shows that the event loop was delayed, so answers may be unread.
_LAG: Final = 1.0
_MINUTE: Final = 60.0
_ENDS_PER_VERSION: Final = 2
_BATCH: Final = 50


class MonitoredStream(Protocol):
    """What the monitor needs of a stream."""

    @property
    def name(self) -> ProxyName:
        """The proxy of the stream."""

    @property
    def stuck(self) -> tuple[UnansweredResponse, ...]:
        """The responses that the proxy should have answered long ago."""

    def count_unanswered(self, seconds: float) -> None:
        """Add these seconds to the time of each response that the proxy has not answered."""

    def end(self) -> None:
        """End the stream soon, with status OK."""


class StreamMonitor:
    """Looks at all streams every `every` seconds.

    stuck, rejecting: the number of streams by type that are stuck, and whose proxies use an old configuration because
    they rejected a newer one. At most 1 % of the streams (at least one) are ended within a minute, and two streams of
    a proxy for the same type and version.
    """

    def __init__(
        self,
        streams: Callable[[], Sequence[MonitoredStream]],
        known: KnownProxies,
        rejections: Rejections,
        *,
        observe: Observer,
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stuck: Mapping[str, int] = {}
        self.rejecting: Mapping[str, int] = {}
        self._streams = streams
        self._known = known
        self._rejections = rejections
        self._observe = observe
        self._every = every
        self._clock = clock
        self._ended_at: deque[float] = deque()
        self._log = ProblemLog("ads", began="streams are stuck", ended="no stream is stuck any more", clock=clock)

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            before = self._clock()
            await asyncio.sleep(self._every)
            passed = self._clock() - before
            try:
                await self.check(passed if passed < self._every + _LAG else 0.0)
            except Exception as error:  # the boundary of a side task: proxies are served without it
                logger("ads").error("the streams cannot be checked", error=f"{type(error).__name__}: {error}")

    async def check(self, seconds: float) -> None:
        """Check all streams. `seconds`: since the last check; 0 if this process may not have read answers meanwhile."""
        self._rejections.flush()
        stuck: Counter[str] = Counter()
        rejecting: Counter[str] = Counter()
        streams = self._streams()
        for index, stream in enumerate(streams, start=1):
            stream.count_unanswered(seconds)
            rejecting.update(rejection.type_url for rejection in self._rejections.of(stream.name))
            if stream.stuck and not any(self._end(stream, response, of=len(streams)) for response in stream.stuck):
                stuck.update(response.type_url for response in stream.stuck)
            if index % _BATCH == 0:
                await asyncio.sleep(0)
        self.stuck, self.rejecting = dict(stuck), dict(rejecting)
        self._log.update("proxies do not answer: see osm proxy list" if stuck else "", streams=sum(stuck.values()))

    def _end(self, stream: MonitoredStream, response: UnansweredResponse, *, of: int) -> bool:
        """End a stuck stream. False if it must not be ended (now)."""
        ended = self._known.remember(stream.name).ended
        version, times = ended.get(response.type_url, ("", 0))
        times = times if version == response.version else 0
        if times >= _ENDS_PER_VERSION or not self._may_end(of):
            return False
        ended[response.type_url] = (response.version, times + 1)
        self._ended_at.append(self._clock())
        self._observe(Event.STUCK_ENDED, type_url=response.type_url)
        logger("ads").warning(
            "a stuck stream was ended",
            proxy=stream.name.uuid,
            identity=str(stream.name.identity),
            type=response.type_url,
            version=response.version,
            after=round(response.seconds, 1),
        )
        stream.end()
        return True

    def _may_end(self, streams: int) -> bool:
        while self._ended_at and self._ended_at[0] <= self._clock() - _MINUTE:
            self._ended_at.popleft()
        return len(self._ended_at) < max(1, streams // 100)
