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
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signals = StopSignals()
    signals.install()
    yield signals
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_a_signal_ends_the_wait(signals: StopSignals) -> None:
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
    async with asyncio.timeout(1):
        await signals.stop()


def _ended(*steps: str) -> int:
    lines = ("import asyncio, os, signal, time", "from osm_probes.foundation.signals import StopSignals")
    program = "\n".join([*lines, "signals = StopSignals()", "signals.install()", *steps, "time.sleep(30)"])
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=20).returncode


_TERMINATE = "os.kill(os.getpid(), signal.SIGTERM)"


def test_a_signal_before_stop_is_awaited_ends_the_process_with_status_0() -> None:
    assert _ended(_TERMINATE) == 0


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
