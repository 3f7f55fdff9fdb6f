"""A running ADS server on loopback, with what it depends on."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import grpc.aio

from osm_probes.ads.authenticator import Admit, Authenticator
from osm_probes.ads.errors import AddressInUseError, NotAdmittedError
from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.ads.listen import ListenConfig
from osm_probes.ads.server import AdsServer
from osm_probes.foundation.latest import Changes
from osm_probes.health.lifecycle import Lifecycle
from osm_probes.mesh.identity import ProxyName
from osm_probes.pki.authority import certificate_digest
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import Snapshot
from tests.ads.client import AUTHORITY, BOOKSTORE, CANARY_CERTIFICATE, SERVER_CERTIFICATE, TRUST_DOMAIN


def refuse_strangers(name: ProxyName) -> None:
    """An `admit` that refuses one service account."""
    if name.identity.service_account == "stranger":
        raise NotAdmittedError(f"no pod has the proxy {name.uuid}")


def is_canary(digest: bytes) -> bool:
    """An `is_canary` that knows one certificate."""
    return digest == certificate_digest(CANARY_CERTIFICATE.chain_pem)


class RecordingObserver:
    """An observer that records all events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._recorded = Changes()

    def __call__(self, event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
        self.events.append(event)
        self._recorded.notify()

    async def until(self, event: Event, *, times: int) -> None:
        """Wait until the event has happened so many times."""
        async with asyncio.timeout(20):
            while self.events.count(event) < times:
                await self._recorded.after(self._recorded.version)


class RunningAds:
    """A running ADS. `port_taken`: simulates another process on the port, which makes `bind` fail."""

    def __init__(self) -> None:
        self.lifecycle = Lifecycle("ads")
        self.cache = SnapshotCache()
        self.observer = RecordingObserver()
        self.port_taken: Callable[[], bool] = lambda: False
        self.server: AdsServer

    def listen_config(self, port: int) -> ListenConfig:
        """A configuration whose `bind` respects `port_taken`."""

        class Config(ListenConfig):
            def bind(self, server: grpc.aio.Server) -> int:
                if running.port_taken():
                    raise AddressInUseError("taken")
                return ListenConfig.bind(self, server)

        running = self
        return Config(port, SERVER_CERTIFICATE, AUTHORITY.root_pem, "127.0.0.1")


@asynccontextmanager
async def running_ads(
    snapshot: Snapshot | None = None,
    *,
    limits: Limits | None = None,
    port: int = 0,
    admit: Admit = refuse_strangers,
) -> AsyncGenerator[RunningAds, None]:
    """A server on loopback that has this snapshot for the bookstore's proxies."""
    running = RunningAds()
    running.server = AdsServer(
        running.lifecycle,
        running.cache,
        authenticator=Authenticator(TRUST_DOMAIN, admit, is_canary),
        listen_config=running.listen_config(port),
        limits=limits,
        observe=running.observer,
    )
    with running.cache.subscribe(BOOKSTORE):
        if snapshot is not None:
            running.cache.publish(BOOKSTORE, snapshot)
        async with running.server.serving():
            yield running
