import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from osm_probes.foundation.signals import StopSignals


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    signals = StopSignals()
    signals.install()
    yield signals
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
async def test_a_signal_ends_the_wait(signals: StopSignals, number: signal.Signals) -> None:
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)
    async with asyncio.timeout(1):
        await signals.stop()


async def test_sigusr2_is_ignored(signals: StopSignals) -> None:
    waiting = asyncio.ensure_future(signals.stop())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGUSR2)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()


async def test_sigquit_calls_its_hook_before_the_stop(signals: StopSignals) -> None:
    calls: list[str] = []
    signals.on_quit = lambda: calls.append("stacks")
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGQUIT)
    async with asyncio.timeout(5):
        await signals.stop()
    assert calls == ["stacks"]


def test_a_sighup_that_is_ignored_at_the_start_stays_ignored() -> None:
    steps = ("os.kill(os.getpid(), signal.SIGHUP)", "os._exit(7)")
    assert _ended(*steps, before=("signal.signal(signal.SIGHUP, signal.SIG_IGN)",)) == 7


def test_the_handlers_need_no_event_loop_library() -> None:
    code = "import sys, osm_probes.controller.main, osm_probes.injector.main; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 0


def _ended(*steps: str, before: tuple[str, ...] = ()) -> int:
    lines = ("import asyncio, os, signal, time", "from osm_probes.foundation.signals import StopSignals", *before)
    program = "\n".join([*lines, "signals = StopSignals()", "signals.install()", *steps, "time.sleep(30)"])
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=20).returncode


_TERMINATE = "os.kill(os.getpid(), signal.SIGTERM)"


def test_a_signal_before_stop_is_awaited_ends_the_process_with_status_0() -> None:
    assert _ended(_TERMINATE) == 0


def test_the_hook_before_the_exit_is_called() -> None:
    assert _ended("signals.before_exit = lambda: os._exit(9)", _TERMINATE) == 9


def test_the_second_signal_ends_the_process_at_once() -> None:
    assert _ended(f"async def run():\n  {_TERMINATE}\n  await signals.stop()", "asyncio.run(run())") == 0
    serve = (
        "async def run():\n"
        "  waiting = asyncio.ensure_future(signals.stop())\n"
        "  await asyncio.sleep(0)\n"
        f"  {_TERMINATE}\n"
        "  await waiting\n"
        f"  {_TERMINATE}\n"
    )
    assert _ended(serve, "asyncio.run(run())") == 128 + signal.SIGTERM
