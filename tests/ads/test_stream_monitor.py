import asyncio

from osm_probes.ads.events import Event, UnansweredResponse
from osm_probes.ads.known_proxies import KnownProxies
from osm_probes.ads.rejections import Rejections
from osm_probes.ads.stream_monitor import StreamMonitor
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.identity import ProxyName
from osm_probes.snapshot.snapshot import LISTENER, ROUTES
from tests.ads.client import proxy_name
from tests.ads.running_ads import RecordingObserver
from tests.log_capture import capture_logs


class FakeStream:
    """A stream that is stuck (or not) until it ends."""

    def __init__(self, version: str = "v1", *, name: ProxyName | None = None, type_url: str = ROUTES) -> None:
        self.name: ProxyName = name or proxy_name()
        self.stuck = (UnansweredResponse(type_url, version, 65.0),) if version else ()
        self.counted: list[float] = []
        self.ended = 0

    def count_unanswered(self, seconds: float) -> None:
        self.counted.append(seconds)

    def end(self) -> None:
        self.ended += 1


class Monitored:
    """A monitor of fake streams, with a virtual clock."""

    def __init__(self, *streams: FakeStream) -> None:
        self.seconds = 0.0
        self.streams = list(streams)
        self.observer = RecordingObserver()
        known = KnownProxies(limit=100)
        self.rejections = Rejections(known, observe=self.observer)
        self.monitor = StreamMonitor(
            lambda: list(self.streams),
            known,
            self.rejections,
            observe=self.observer,
            every=0.01,
            clock=lambda: self.seconds,
        )

    async def check(self, *, at: float) -> int:
        """Check at this time. Returns how many streams that ended, which leave the list."""
        self.seconds = at
        await self.monitor.check(5)
        ended = [stream for stream in self.streams if stream.ended]
        self.streams = [stream for stream in self.streams if not stream.ended]
        return len(ended)


async def test_a_stuck_stream_is_ended_logged_and_counted() -> None:
    stuck, fine = FakeStream(), FakeStream("")
    monitored = Monitored(stuck, fine)
    with capture_logs() as lines:
        await monitored.check(at=0)
    assert (stuck.ended, fine.ended) == (1, 0)
    assert monitored.observer.events == [Event.STUCK_ENDED]
    (line,) = lines
    assert (line["event"], line["proxy"], line["type"], line["version"], line["after"]) == (
        "a stuck stream was ended",
        stuck.name.uuid,
        ROUTES,
        "v1",
        65.0,
    )


async def test_at_most_one_of_a_hundred_streams_is_ended_within_a_minute_but_at_least_one() -> None:
    few = Monitored(*(FakeStream() for _ in range(50)))
    assert [await few.check(at=second) for second in (0, 5, 59, 60, 65)] == [1, 0, 0, 1, 0]
    many = Monitored(*(FakeStream() for _ in range(350)))
    assert [await many.check(at=second) for second in (0, 5, 59, 60, 65)] == [3, 0, 0, 3, 0]


async def test_two_streams_of_a_proxy_are_ended_for_a_version_and_then_it_is_only_counted() -> None:
    name = proxy_name()
    monitored = Monitored()
    ended = []
    for minute in range(4):
        monitored.streams = [FakeStream(name=name)]
        ended.append(await monitored.check(at=minute * 100))
    assert ended == [1, 1, 0, 0]
    assert monitored.monitor.stuck == {ROUTES: 1}
    monitored.streams = [FakeStream("v2", name=name)]
    assert await monitored.check(at=1000) == 1
    assert monitored.monitor.stuck == {}


async def test_streams_that_stay_stuck_are_one_line_in_the_log_and_so_is_their_end() -> None:
    monitored = Monitored(*(FakeStream() for _ in range(50)))
    with capture_logs() as lines:
        for second in range(5):
            await monitored.check(at=second)
        monitored.streams = []
        await monitored.check(at=9)
    assert [line["event"] for line in lines] == [
        "a stuck stream was ended",
        "streams are stuck",
        "no stream is stuck any more",
    ]


async def test_proxies_on_an_old_configuration_are_counted_by_type_as_long_as_they_are_connected() -> None:
    streams = [FakeStream("") for _ in range(3)]
    monitored = Monitored(*streams)
    for stream, type_url in ((streams[0], LISTENER), (streams[0], ROUTES), (streams[1], ROUTES)):
        monitored.rejections.record_nack(stream.name, type_url, version="1", detail="no")
    await monitored.check(at=0)
    assert monitored.monitor.rejecting == {LISTENER: 1, ROUTES: 2}
    monitored.streams = streams[1:]
    await monitored.check(at=5)
    assert monitored.monitor.rejecting == {ROUTES: 1}


async def until_counted(stream: FakeStream, times: int) -> None:
    async with asyncio.timeout(20):
        while len(stream.counted) < times:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def test_the_time_of_a_late_check_does_not_count() -> None:
    stream = FakeStream("")
    monitored = Monitored(stream)
    times = iter([0.0, 0.5, 1.0, 31.0, 31.0])
    monitored.monitor._clock = lambda: next(times, 31.0)
    monitored.monitor._rejections.flush = lambda: None  # type: ignore[method-assign]  # it reads the clock, too
    async with background_tasks(run=monitored.monitor.run()):
        await until_counted(stream, 2)
    assert stream.counted[:2] == [0.5, 0.0]


async def test_an_unforeseen_error_ends_neither_the_monitor_nor_the_program() -> None:
    class Broken(FakeStream):
        def count_unanswered(self, seconds: float) -> None:
            super().count_unanswered(seconds)
            raise RuntimeError("no")

    broken = Broken("")
    monitored = Monitored(broken)
    with capture_logs() as lines:
        async with background_tasks(run=monitored.monitor.run()):
            await until_counted(broken, 3)
    assert lines[0]["error"] == "RuntimeError: no"
