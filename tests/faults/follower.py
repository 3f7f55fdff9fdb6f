"""A proxy that stays connected, as a process: `PORT CA MESH LIMIT INTERVAL`. It writes changes and awaits each.

When it has its first clusters, it begins to print a JSON line each INTERVAL seconds: false while a change has not
arrived LIMIT seconds after it was written, and for 5 s after that, in which readiness is not to change.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from pathlib import Path

import grpc.aio
import msgspec
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import STREAM, Call, open_channel
from tests.faults.client import NotServedError, acknowledgement, next_response
from tests.faults.identity import BOOKSTORE, credentials
from tests.faults.timeline import Sample

_CLUSTER = re.compile(rb"bookstore/follower\|(\d+)")
_CHANGE_EVERY = 1.0
_ON_TIME_FOR = 5.0


class Follower:
    """Writes a service with a new port each second, and waits for its cluster on the stream of one proxy."""

    def __init__(self, port: int, ca: Path, mesh: Path, *, limit: float) -> None:
        self._port = port
        self._credentials = credentials(ca, BOOKSTORE)
        self._file = mesh / "follower.json"
        self._limit = limit
        self._written: dict[int, float] = {}
        self._connected = asyncio.Event()
        self._late_at = time.monotonic() - _ON_TIME_FOR

    async def run(self, interval: float) -> None:
        """Run until the process is killed."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay_connected())
            await self._connected.wait()
            group.create_task(self._write_changes())
            while True:
                await asyncio.sleep(interval)
                os.write(1, msgspec.json.encode(self._sample()) + b"\n")

    def _sample(self) -> Sample:
        now = time.monotonic()
        late = now - next(iter(self._written.values()), now)
        if late > self._limit:
            self._late_at = now
        ok = now - self._late_at >= _ON_TIME_FOR
        return Sample(now, now, ok, "" if ok else f"a change has not arrived within {self._limit:g} s")

    async def _write_changes(self) -> None:
        for number in range(10_000, 60_000):
            self._written[number] = time.monotonic()
            new = self._file.with_suffix(".new")
            new.write_text(_service(number))
            new.replace(self._file)
            await asyncio.sleep(_CHANGE_EVERY)

    async def _stay_connected(self) -> None:
        own = self._credentials
        while True:
            with contextlib.suppress(NotServedError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                async with open_channel(self._port, own.certificate, root_pem=own.root_pem) as channel:
                    await self._follow(channel.stream_stream(STREAM)())
            await asyncio.sleep(0.2)

    async def _follow(self, call: Call) -> None:
        await call.write(DiscoveryRequest(type_url=CLUSTER).SerializeToString())
        while True:
            response = await next_response(call)
            self._connected.set()
            numbers = [int(match[1]) for resource in response.resources if (match := _CLUSTER.search(resource.value))]
            for number in [number for number in self._written if number <= max(numbers, default=0)]:
                del self._written[number]
            await call.write(acknowledgement(response))


def _service(number: int) -> str:
    metadata = {"name": "follower", "namespace": "bookstore"}
    spec = {"clusterIP": "10.96.0.99", "selector": {"app": "follower"}, "ports": [{"name": "http", "port": number}]}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})


def main() -> None:
    """Run until the process is killed."""
    port, ca, mesh, limit, interval = sys.argv[1:6]
    asyncio.run(Follower(int(port), Path(ca), Path(mesh), limit=float(limit)).run(float(interval)))


if __name__ == "__main__":
    main()
