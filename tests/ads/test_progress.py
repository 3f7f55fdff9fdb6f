import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from osm_probes.ads.grpc_threads import GrpcThreads
from osm_probes.ads.limits import Limits
from osm_probes.ads.progress import Progress
from tests.clock import Clock
from tests.log_capture import capture_logs

LIMITS = Limits(own_call_every=0.001, own_call=0.05)


class FakeServer:
    """A GrpcServer that answers calls of its program by a rule. Stuck ones time out."""

    def __init__(self, *, serving: bool = True) -> None:
        self.serving = serving
        self.stuck = False
        self.calls = 0

    async def failure(self, *, within: float) -> str:
        self.calls += 1
        if self.stuck:
            await asyncio.sleep(within)
            return "DEADLINE_EXCEEDED: Deadline Exceeded"
        return ""


class FakeThreads:
    def __init__(self, *, saturated: bool) -> None:
        self._saturated = saturated

    def saturated(self) -> bool:
        return self._saturated


def progress_of(server: FakeServer, *, saturated: bool = False) -> Progress:
    return Progress(lambda: server, limits=LIMITS, threads=lambda: FakeThreads(saturated=saturated), look_every=0.001)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


def test_a_call_is_progress_once() -> None:
    progress = progress_of(FakeServer())
    progress.count_call()
    assert [progress.made(), progress.made()] == [True, False]


def test_without_a_server_that_must_answer_a_running_event_loop_is_progress() -> None:
    progress = progress_of(FakeServer(serving=False))
    assert [progress.made(), progress.made()] == [True, True]


async def test_the_answer_to_the_own_call_is_progress() -> None:
    progress = progress_of(FakeServer())
    task = asyncio.ensure_future(progress.run())
    await until(progress.made)
    task.cancel()


async def test_a_server_that_does_not_answer_makes_no_progress_which_is_logged_once() -> None:
    server = FakeServer()
    server.stuck = True
    progress = progress_of(server)
    with capture_logs() as logs:
        task = asyncio.ensure_future(progress.run())
        await until(lambda: server.calls > 3)
        assert not progress.made()
        server.stuck = False
        await until(progress.made)
        task.cancel()
    assert [entry["event"] for entry in logs] == [
        "grpc does not answer this program",
        "grpc answers this program again",
    ]


async def test_a_late_answer_of_busy_threads_is_progress_until_the_call_fails() -> None:
    server = FakeServer()
    server.stuck = True
    progress = progress_of(server, saturated=True)
    task = asyncio.ensure_future(progress.run())
    await until(progress.made)
    await until(lambda: server.calls > 1)
    progress.made()
    await until(lambda: server.calls > 3)
    assert not progress.made()
    task.cancel()


async def test_a_server_that_stops_during_the_own_call_has_not_failed() -> None:
    server = FakeServer()
    server.stuck = True
    progress = progress_of(server)
    with capture_logs() as logs:
        task = asyncio.ensure_future(progress.run())
        await until(lambda: server.calls > 0)
        server.serving = False
        await asyncio.sleep(2 * LIMITS.own_call)
        task.cancel()
    assert logs == []


def thread(folder: Path, number: int, *, ran: float, waited: float, name: str = "event_engine") -> None:
    """The files of a thread in /proc; times in seconds."""
    (folder / str(number)).mkdir(exist_ok=True)
    (folder / str(number) / "comm").write_text(f"{name}\n")
    (folder / str(number) / "schedstat").write_text(f"{int(ran * 1e9)} {int(waited * 1e9)} 1\n")


@pytest.mark.parametrize(
    ("ran", "waited", "saturated"), [(1.0, 0.0, True), (0.05, 0.95, True), (0.3, 0.2, False), (0.0, 0.0, False)]
)
def test_threads_that_always_run_or_wait_for_a_processor_are_saturated(
    tmp_path: Path, *, ran: float, waited: float, saturated: bool
) -> None:
    clock = Clock()
    thread(tmp_path, 1, ran=5.0, waited=1.0)
    thread(tmp_path, 2, ran=9.0, waited=9.0, name="python")
    threads = GrpcThreads(tasks=tmp_path, clock=clock)
    clock.now += 1.0
    thread(tmp_path, 1, ran=5.0 + ran, waited=1.0 + waited)
    thread(tmp_path, 2, ran=99.0, waited=9.0, name="python")
    assert threads.saturated() is saturated


def test_without_the_counters_of_the_kernel_no_thread_is_saturated(tmp_path: Path) -> None:
    clock = Clock()
    threads = GrpcThreads(tasks=tmp_path / "none", clock=clock)
    clock.now += 1.0
    assert not threads.saturated()


def test_the_kernel_counts_the_time_of_the_threads_of_this_process() -> None:
    schedstat = Path("/proc/thread-self/schedstat")
    before = int(schedstat.read_text().split()[0])
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert int(schedstat.read_text().split()[0]) - before > 20_000_000
