"""A real gRPC client with a certificate of its own, as a proxy has it."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import grpc.aio

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.errors import NotAdmittedError
from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.ads.listen import ListenConfig
from osm_probes.ads.server import AdsServer
from osm_probes.foundation.latest import Latest
from osm_probes.health.lifecycle import Lifecycle
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import Snapshot
from osm_probes.xds.names import controller_name

TRUST_DOMAIN = "cluster.local"
SERVER_NAME = controller_name("osm-system")
AUTHORITY = Authority.create("test-ca")
BOOKSTORE = Identity("bookstore", "bookstore")
DAY = timedelta(days=1)
STREAM = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

Call = grpc.aio.StreamStreamCall[bytes, bytes]


def server_certificate() -> Certificate:
    """A certificate for the ADS."""
    return AUTHORITY.issue(SERVER_NAME, validity=DAY)


SHOWN = server_certificate()


def proxy_name(kind: str = SIDECAR, identity: Identity = BOOKSTORE) -> ProxyName:
    """A new proxy."""
    return ProxyName(str(uuid.uuid4()), kind, identity)


def certificate_of(name: ProxyName, authority: Authority = AUTHORITY) -> Certificate:
    """The certificate by which a proxy is known."""
    return authority.issue(name.common_name(TRUST_DOMAIN), validity=DAY)


def another() -> Certificate:
    """The certificate of one more proxy: each has one stream."""
    return certificate_of(proxy_name())


BOOKSTORE_PROXY = proxy_name()
BOOKSTORE_CERTIFICATE = certificate_of(BOOKSTORE_PROXY)


def refuses_strangers(name: ProxyName) -> None:
    """An `admit` that knows all but one service account."""
    if name.identity.service_account == "stranger":
        raise NotAdmittedError(f"no pod has the proxy {name.uuid}")


class Counts:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._count = Latest(0)

    def __call__(self, event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
        self.events.append(event)
        self._count.set(len(self.events))

    async def until(self, event: Event, *, times: int) -> None:
        """Wait until it has happened so often."""
        async with asyncio.timeout(20):
            while self.events.count(event) < times:
                await self._count.after(self._count.version)


class Ads:
    """A running ADS and what it stands on."""

    def __init__(self, server: AdsServer, lifecycle: Lifecycle, cache: SnapshotCache, counts: Counts) -> None:
        self.server = server
        self.lifecycle = lifecycle
        self.cache = cache
        self.counts = counts


@asynccontextmanager
async def ads(*, limits: Limits | None = None, port: int = 0, now: Snapshot | None = None) -> AsyncGenerator[Ads, None]:
    """A server on loopback; `now` is what the bookstore's proxies are told, from the start."""
    lifecycle, cache, counts = Lifecycle("ads"), SnapshotCache(), Counts()
    server = AdsServer(
        lifecycle,
        cache,
        authenticator=Authenticator(TRUST_DOMAIN, refuses_strangers),
        listen_config=ListenConfig(port, SHOWN, AUTHORITY.root_pem, "127.0.0.1"),
        limits=limits,
        observe=counts,
    )
    with cache.listen(BOOKSTORE):
        if now is not None:
            cache.publish(BOOKSTORE, now)
        async with server.serving():
            yield Ads(server, lifecycle, cache, counts)


@asynccontextmanager
async def dialled(
    port: int, certificate: Certificate | None = BOOKSTORE_CERTIFICATE, *, root_pem: bytes = AUTHORITY.root_pem
) -> AsyncGenerator[grpc.aio.Channel, None]:
    """A channel of its own connection."""
    pair = (certificate.key_pem, certificate.chain_pem) if certificate else (None, None)
    options = (
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", -1),
    )
    tls = grpc.ssl_channel_credentials(root_pem, *pair)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", tls, options=options) as channel:
        yield channel


@asynccontextmanager
async def stream(
    port: int, certificate: Certificate | None = BOOKSTORE_CERTIFICATE, *, method: str = STREAM
) -> AsyncGenerator[Call, None]:
    """An open stream; cancelled at the end."""
    async with dialled(port, certificate) as channel:
        call: Call = channel.stream_stream(method)()
        try:
            yield call
        finally:
            call.cancel()


async def read(call: Call) -> bytes:
    """The next message, which there must be."""
    message = await call.read()
    assert isinstance(message, bytes), f"{await call.code()}: {await call.details()}"
    return message


async def ended(call: Call) -> tuple[grpc.StatusCode, str]:
    """How the server ended it, whatever was still said before."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details()
