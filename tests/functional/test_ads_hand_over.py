"""The ADS that is told to stop while it hands its port over, in a process of its own: a crash of grpc is a failure."""

import subprocess
import sys
from typing import Final

import pytest

_TRIES: Final = 60
_SCRIPT: Final = """
import asyncio, sys
from tests.ads.dial import ads, server_certificate

async def one(index: int, *, cancelled: bool) -> None:
    async with ads() as running:
        renewal = asyncio.create_task(running.server.renew(server_certificate()))
        await asyncio.sleep(index % 10 * 0.0003)
        if cancelled:
            renewal.cancel()
        await running.server.drain(within=1)
        await asyncio.wait([renewal])
        assert running.lifecycle.phase.name == "STOPPED", running.lifecycle.phase
        for _ in range(100):  # sockets close on a thread of grpc's
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
            except ConnectionRefusedError:
                return
            except ConnectionError:
                continue
            writer.transport.abort()
            await asyncio.sleep(0.01)
        raise AssertionError("the port is still open")

async def main() -> None:
    for index in range(int(sys.argv[1])):
        await one(index, cancelled=sys.argv[2] == "cancelled")

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["awaited", "cancelled"])
def test_a_stop_during_a_hand_over_ends_the_ads_and_not_the_process(end: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(_TRIES), end], capture_output=True, text=True, timeout=60, check=False
    )
    assert (child.returncode, child.stderr[-2000:]) == (0, "")
