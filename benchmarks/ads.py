"""How fast the ADS pushes: `python -m benchmarks.ads [--proxies 500] [--clusters 50]`, a minute at most.

Proxies are real: each has a connection over mTLS and a stream of its own, in a child process. For each push: until the
last proxy has it, in ms, and the CPU seconds of the serving process.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, Resource, Snapshot
from tests.ads.dial import AUTHORITY, BOOKSTORE, STREAM, Ads, Call, ads, another, dialled

_WITHIN: Final = 30.0
_TYPES: Final = (CLUSTER, ENDPOINTS)


def environment(clusters: int, *, cluster: int = 1, endpoint: int = 1) -> Snapshot:
    """Clusters of 2 KB with endpoints; the numbers change all clusters, or the first one's endpoints."""
    made = []
    for index in range(clusters):
        made.append(Resource.of(f"c{index:04}", CLUSTER, b"%d" % cluster + b"x" * 2000))
        made.append(Resource.of(f"c{index:04}", ENDPOINTS, b"%d" % (endpoint if index == 0 else 1)))
    return Snapshot.of(made)


class Proxies:
    """The child process: dials, accepts all that comes, and tells whenever all have got one more of a type."""

    def __init__(self, pipe: Connection, *, number: int, clusters: int) -> None:
        self._pipe = pipe
        self._number = number
        self._names = [f"c{index:04}" for index in range(clusters)]
        self._received = dict.fromkeys(_TYPES, 0)

    async def run(self, port: int, certificates: list[Certificate], root_pem: bytes) -> None:
        """Until the process is ended."""
        await asyncio.gather(*(self._proxy(port, each, root_pem) for each in certificates))

    async def _proxy(self, port: int, certificate: Certificate, root_pem: bytes) -> None:
        async with dialled(port, certificate, root_pem=root_pem) as channel:
            call: Call = channel.stream_stream(STREAM)()
            await call.write(self._request(CLUSTER))
            await call.write(self._request(ENDPOINTS))
            while isinstance(message := await call.read(), bytes):
                answer = DiscoveryResponse.FromString(message)
                await call.write(self._request(answer.type_url, answer))
                self._count(answer.type_url)

    def _request(self, type_url: str, answer: DiscoveryResponse | None = None) -> bytes:
        request = DiscoveryRequest(type_url=type_url, resource_names=self._names if type_url == ENDPOINTS else [])
        if answer is not None:
            request.version_info, request.response_nonce = answer.version_info, answer.nonce
        return request.SerializeToString()

    def _count(self, type_url: str) -> None:
        self._received[type_url] += 1
        if self._received[type_url] % self._number == 0:
            self._pipe.send(type_url)


def child(pipe: Connection, number: int, clusters: int) -> None:
    """The child's entry."""
    port, certificates, root_pem = pipe.recv()
    asyncio.run(Proxies(pipe, number=number, clusters=clusters).run(port, certificates, root_pem))


async def measured(what: str, act: Callable[[], object], *, pipe: Connection, types: set[str]) -> None:
    """Do it, wait until the child has told of all these types, print."""
    started, cpu = time.perf_counter(), time.process_time()
    act()
    left = set(types)
    while left:
        if not await asyncio.to_thread(pipe.poll, _WITHIN):
            raise TimeoutError(f"{what}: not all proxies have {left} within {_WITHIN:g} s")
        left.discard(pipe.recv())
    took = (time.perf_counter() - started) * 1000
    print(f"{what:<28} {took:8.0f} ms {time.process_time() - cpu:8.2f} s CPU")


async def pushes(running: Ads, pipe: Connection, *, number: int, clusters: int) -> None:
    """All rounds."""
    hello = (running.server.port, [another() for _ in range(number)], AUTHORITY.root_pem)
    await measured("connect", lambda: pipe.send(hello), pipe=pipe, types=set(_TYPES))
    for turn in (2, 3):
        full = partial(running.cache.publish, BOOKSTORE, environment(clusters, cluster=turn, endpoint=turn - 1))
        await measured("full push", full, pipe=pipe, types=set(_TYPES))
        one = partial(running.cache.publish, BOOKSTORE, environment(clusters, cluster=turn, endpoint=turn))
        await measured("one endpoint", one, pipe=pipe, types={ENDPOINTS})


def shared_against_each(clusters: int, streams: int = 200) -> float:
    """How many times longer the answers to so many streams take where each one is encoded alone."""
    took = []
    for shared in (True, False):
        now = environment(clusters)
        started = time.perf_counter()
        for _ in range(streams):
            session = StateOfTheWorld()
            session.hear(DiscoveryRequest(type_url=CLUSTER).SerializeToString())
            session.answer(now)
            if not shared:
                now.sets[CLUSTER].encoded.clear()
        took.append(time.perf_counter() - started)
    return took[1] / took[0]


async def run(number: int, clusters: int) -> None:
    """Serve, with the proxies in a child process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there, number, clusters), daemon=True)
    process.start()
    try:
        async with ads(now=environment(clusters)) as running:
            await pushes(running, here, number=number, clusters=clusters)
    finally:
        process.kill()
        process.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxies", type=int, default=500, help="at most 2000 (%(default)s)")
    parser.add_argument("--clusters", type=int, default=50, help="at most 500 (%(default)s)")
    given = parser.parse_args()
    number, clusters = min(given.proxies, 2000), min(given.clusters, 500)
    print(f"{number} proxies, {clusters} clusters of 2 KB")
    asyncio.run(run(number, clusters))
    print(f"encoding for each stream     {shared_against_each(clusters):8.1f} times as long as shared bytes")


if __name__ == "__main__":
    main()
