"""Measures how fast the ADS pushes: `python -m benchmarks.ads [--proxies 500] [--clusters 50]`, one minute at most.

The proxies run in a child process, each with its own mTLS connection and stream. For each push it prints the
milliseconds until the last proxy has received it, and the CPU seconds of the serving process.
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
from osm_probes.mesh.mesh import Endpoint
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, Resource, Snapshot
from osm_probes.xds.endpoints import load_assignment_resource
from tests.ads.client import AUTHORITY, BOOKSTORE, STREAM, Call, new_proxy_certificate, open_channel
from tests.ads.running_ads import RunningAds, running_ads

_WITHIN: Final = 30.0
_TYPES: Final = (CLUSTER, ENDPOINTS)


def environment(clusters: int, *, cluster_port: int = 1, endpoint_port: int = 1) -> Snapshot:
    """Clusters of 2 KB with endpoints. Another `cluster_port` changes all clusters, `endpoint_port` one endpoint."""
    resources = []
    for index in range(clusters):
        name = f"c{index:04}"
        cluster = Resource.of(name, CLUSTER, b"%d" % cluster_port + b"x" * 2000)
        hosts = (Endpoint("127.0.0.1", endpoint_port if index == 0 else 1),)
        assignment = load_assignment_resource(name, endpoints=hosts, cluster_version=cluster.version)
        resources += [cluster, assignment]
    return Snapshot.of(resources)


class Proxies:
    """The child process: acknowledges all responses and reports when all proxies have received one more of a type."""

    def __init__(self, pipe: Connection, *, number: int, clusters: int) -> None:
        self._pipe = pipe
        self._number = number
        self._names = [f"c{index:04}" for index in range(clusters)]
        self._received = dict.fromkeys(_TYPES, 0)

    async def run(self, port: int, certificates: list[Certificate], root_pem: bytes) -> None:
        """Run all proxies until the process is killed."""
        await asyncio.gather(*(self._proxy(port, certificate, root_pem) for certificate in certificates))

    async def _proxy(self, port: int, certificate: Certificate, root_pem: bytes) -> None:
        async with open_channel(port, certificate, root_pem=root_pem) as channel:
            call: Call = channel.stream_stream(STREAM)()
            await call.write(self._request(CLUSTER))
            await call.write(self._request(ENDPOINTS))
            while isinstance(message := await call.read(), bytes):
                response = DiscoveryResponse.FromString(message)
                await call.write(self._request(response.type_url, response))
                self._count(response.type_url)

    def _request(self, type_url: str, response: DiscoveryResponse | None = None) -> bytes:
        request = DiscoveryRequest(type_url=type_url, resource_names=self._names if type_url == ENDPOINTS else [])
        if response is not None:
            request.version_info, request.response_nonce = response.version_info, response.nonce
        return request.SerializeToString()

    def _count(self, type_url: str) -> None:
        self._received[type_url] += 1
        if self._received[type_url] % self._number == 0:
            self._pipe.send(type_url)


def run_proxies(pipe: Connection, number: int, clusters: int) -> None:
    """The entry point of the child process."""
    port, certificates, root_pem = pipe.recv()
    asyncio.run(Proxies(pipe, number=number, clusters=clusters).run(port, certificates, root_pem))


async def measure(label: str, act: Callable[[], object], *, pipe: Connection, types: set[str]) -> None:
    """Call `act`, wait until all proxies have received all these types, and print a line."""
    started, cpu = time.perf_counter(), time.process_time()
    act()
    left = set(types)
    while left:
        if not await asyncio.to_thread(pipe.poll, _WITHIN):
            raise TimeoutError(f"{label}: not all proxies have {left} within {_WITHIN:g} s")
        left.discard(pipe.recv())
    elapsed = (time.perf_counter() - started) * 1000
    print(f"{label:<28} {elapsed:8.0f} ms {time.process_time() - cpu:8.2f} s CPU")


async def measure_pushes(running: RunningAds, pipe: Connection, *, number: int, clusters: int) -> None:
    """Measure the connect and all pushes."""
    task = (running.server.port, [new_proxy_certificate() for _ in range(number)], AUTHORITY.root_pem)
    await measure("connect", lambda: pipe.send(task), pipe=pipe, types=set(_TYPES))
    for turn in (2, 3):
        all_changed = environment(clusters, cluster_port=turn, endpoint_port=turn - 1)
        full = partial(running.cache.publish, BOOKSTORE, all_changed)
        await measure("full push", full, pipe=pipe, types=set(_TYPES))
        one_changed = environment(clusters, cluster_port=turn, endpoint_port=turn)
        one = partial(running.cache.publish, BOOKSTORE, one_changed)
        await measure("one endpoint", one, pipe=pipe, types={ENDPOINTS})


def encoding_factor(clusters: int, streams: int = 200) -> float:
    """How many times longer it takes to encode responses for each stream than to share them between streams."""
    elapsed = []
    for shared in (True, False):
        snapshot = environment(clusters)
        started = time.perf_counter()
        for _ in range(streams):
            session = StateOfTheWorld()
            session.handle_request(DiscoveryRequest(type_url=CLUSTER).SerializeToString())
            session.next_response(snapshot)
            if not shared:
                snapshot.sets[CLUSTER].encoded.clear()
        elapsed.append(time.perf_counter() - started)
    return elapsed[1] / elapsed[0]


async def run(number: int, clusters: int) -> None:
    """Serve the proxies of a child process and measure."""
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=run_proxies, args=(child_pipe, number, clusters), daemon=True)
    process.start()
    try:
        async with running_ads(environment(clusters)) as running:
            await measure_pushes(running, pipe, number=number, clusters=clusters)
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
    print(f"encoding for each stream     {encoding_factor(clusters):8.1f} times as long as shared bytes")


if __name__ == "__main__":
    main()
