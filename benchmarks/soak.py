"""Measures whether osm-controller's memory grows: `python -m benchmarks.soak [--minutes 120] [--output soak.csv]`.

Each second ten proxies connect, ask for clusters and end: half of them reset the stream, the ADS ends the others.
Every ten seconds a pod comes or goes. At the end it prints the growth after the first ten minutes (or the first half of
a shorter run), and exits with 1 if that is 2 MB an hour or more.
"""

import argparse
import asyncio
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from osm_probes.foundation.tasks import TaskPool
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import STREAM, Call, final_status, open_channel
from tests.faults.identity import Credentials, pods
from tests.faults.proxies import load_credentials
from tests.functional.programs import Program, running

_PROXIES: Final = 150
_SAMPLE_EVERY: Final = 30.0
_MESH_EVERY: Final = 10.0
_WARM_UP: Final = 600.0
_WITHIN: Final = 10.0
_OPEN: Final = 200
_TICK: Final = 0.001
_LIMIT: Final = 2.0
_ASK: Final = DiscoveryRequest(type_url=CLUSTER).SerializeToString()
_MALFORMED: Final = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Sample:
    """The resident memory of the program at a time, after so many streams."""

    seconds: float
    streams: int
    kib: int


async def use_stream(port: int, proxy: Credentials, *, malformed: bool) -> None:
    """Connect, ask, and end: by a request that the ADS refuses, or by a reset after up to two seconds."""
    try:
        async with asyncio.timeout(_WITHIN), open_channel(port, proxy.certificate, root_pem=proxy.root_pem) as channel:
            call: Call = channel.stream_stream(STREAM)()
            await call.write(_ASK)
            await call.read()
            if malformed:
                await call.write(_MALFORMED)
                await final_status(call)
            else:
                await asyncio.sleep(2 * random.random())
                call.cancel()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        return  # Its place was taken by a newer stream of the same proxy.


class Soak:
    """The load on one program, and the samples of its memory."""

    def __init__(self, program: Program, mesh: Path, *, proxies: Sequence[Credentials], output: TextIO) -> None:
        self.samples: list[Sample] = []
        self._program = program
        self._mesh = mesh
        self._proxies = proxies
        self._output = output
        self._streams = 0
        self._open = 0

    async def run(self, *, seconds: float, rate: float) -> None:
        """Load the program for so long with so many streams each second."""
        port, started = self._program.served_port, time.monotonic()
        sample_due, mesh_due = _SAMPLE_EVERY, _MESH_EVERY
        async with TaskPool("soak") as pool:
            while (now := time.monotonic() - started) < seconds:
                if self._open < _OPEN:
                    _ = pool.start(self._use_one(port), name="stream")
                if now >= mesh_due:
                    write_pods(self._mesh, count=_PROXIES + self._streams % 7)
                    mesh_due += _MESH_EVERY
                if now >= sample_due:
                    self._sample(now)
                    sample_due += _SAMPLE_EVERY
                await asyncio.sleep(max(_TICK, (self._streams + 1) / rate - (time.monotonic() - started)))

    async def _use_one(self, port: int) -> None:
        self._streams += 1
        self._open += 1
        try:
            proxy = self._proxies[self._streams % len(self._proxies)]
            await use_stream(port, proxy, malformed=self._streams % 2 == 0)
        finally:
            self._open -= 1

    def _sample(self, now: float) -> None:
        status = Path(f"/proc/{self._program.process.pid}/status").read_text()
        kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        self.samples.append(Sample(round(now, 1), self._streams, kib))
        print(f"{now:.0f},{self._streams},{kib}", file=self._output, flush=True)


def write_pods(mesh: Path, *, count: int) -> None:
    """Replace the manifest of the proxies' pods."""
    new = mesh / "proxies.json.new"
    new.write_text(pods(count))
    new.replace(mesh / "proxies.json")


def megabytes_an_hour(samples: Sequence[Sample], *, after: float) -> float:
    """The slope of the line that fits the samples after this time best."""
    late = [sample for sample in samples if sample.seconds >= after]
    slope = statistics.linear_regression([each.seconds for each in late], [each.kib for each in late]).slope
    return slope * 3600 / 1024


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120, help="at least 3 (%(default)s)")
    parser.add_argument("--rate", type=float, default=10, help="streams each second (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("soak.csv"), help="the samples (%(default)s)")
    given = parser.parse_args()
    # So that the program is stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seconds = max(given.minutes, 3) * 60
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, given.output.open("w") as output:
        print("seconds,streams,rss_kib", file=output, flush=True)
        with running("osm-controller", Path(folder)) as program:
            write_pods(Path(folder) / "mesh", count=_PROXIES)
            program.until_ready()
            soak = Soak(
                program, Path(folder) / "mesh", proxies=load_credentials(Path(folder) / "ca", _PROXIES), output=output
            )
            asyncio.run(soak.run(seconds=seconds, rate=given.rate))
    growth = megabytes_an_hour(soak.samples, after=min(_WARM_UP, seconds / 2))
    print(f"{soak.samples[-1].streams} streams; growth {growth:.2f} MB an hour, limit {_LIMIT:g}")
    return 0 if growth < _LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
