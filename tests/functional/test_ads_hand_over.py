"""The ADS is stopped while it hands its port over to a new server, in a child process, because grpc may crash."""

import subprocess
import sys
from typing import Final

import pytest

_TRIES: Final = 60
_SCRIPT: Final = """
import asyncio, sys
from tests.ads.client import server_certificate
from tests.ads.running_ads import running_ads

async def stop_during_renewal(index: int, *, cancelled: bool) -> None:
    async with running_ads() as running:
        renewal = asyncio.create_task(running.server.renew(server_certificate()))
        await asyncio.sleep(index % 10 * 0.0003)
        if cancelled:
            renewal.cancel()
        await running.server.drain(within=1)
        await asyncio.wait([renewal])
        assert running.lifecycle.phase.name == "STOPPED", running.lifecycle.phase
        for _ in range(100):  # a thread of grpc closes the sockets
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
        await stop_during_renewal(index, cancelled=sys.argv[2] == "cancelled")

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["awaited", "cancelled"])
def test_a_stop_during_a_port_hand_over_stops_the_ads_and_does_not_crash_the_process(end: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(_TRIES), end], capture_output=True, text=True, timeout=60, check=False
    )
    assert (child.returncode, child.stderr[-2000:]) == (0, "")
