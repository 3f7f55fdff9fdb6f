"""A real gRPC client that has a certificate of its own, as a proxy has."""

import contextlib
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import grpc.aio

from osm_probes.mesh.identity import SIDECAR, CanaryName, Identity, ProxyName
from osm_probes.mesh.names import controller_server_name
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate

TRUST_DOMAIN = "cluster.local"
SERVER_NAME = controller_server_name("osm-system")
AUTHORITY = Authority.create("test-ca")
BOOKSTORE = Identity("bookstore", "bookstore")
DAY = timedelta(days=1)
STREAM = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

Call = grpc.aio.StreamStreamCall[bytes, bytes]


def server_certificate() -> Certificate:
    """A new certificate for the ADS."""
    return AUTHORITY.issue(SERVER_NAME, validity=DAY)


SERVER_CERTIFICATE = server_certificate()


def proxy_name(kind: str = SIDECAR, identity: Identity = BOOKSTORE) -> ProxyName:
    """The name of a new proxy."""
    return ProxyName(str(uuid.uuid4()), kind, identity)


def certificate_of(name: ProxyName, authority: Authority = AUTHORITY) -> Certificate:
    """The client certificate of a proxy."""
    return authority.issue(name.common_name(TRUST_DOMAIN), validity=DAY)


CANARY_CERTIFICATE = AUTHORITY.issue(CanaryName.common_name(TRUST_DOMAIN), validity=DAY)
"""The certificate that the ADS of `running_ads` knows as its canary's."""


def new_proxy_certificate() -> Certificate:
    """The certificate of a new proxy: each proxy may have one stream only."""
    return certificate_of(proxy_name())


BOOKSTORE_PROXY = proxy_name()
BOOKSTORE_CERTIFICATE = certificate_of(BOOKSTORE_PROXY)


@asynccontextmanager
async def open_channel(
    port: int, certificate: Certificate | None = BOOKSTORE_CERTIFICATE, *, root_pem: bytes = AUTHORITY.root_pem
) -> AsyncGenerator[grpc.aio.Channel, None]:
    """A channel with a connection of its own."""
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
async def open_stream(
    port: int, certificate: Certificate | None = BOOKSTORE_CERTIFICATE, *, method: str = STREAM
) -> AsyncGenerator[Call, None]:
    """An open stream; cancelled at the end of the block."""
    async with open_channel(port, certificate) as channel:
        call: Call = channel.stream_stream(method)()
        try:
            yield call
        finally:
            call.cancel()


async def read_message(call: Call) -> bytes:
    """The next message. Fails if the stream ends instead."""
    message = await call.read()
    assert isinstance(message, bytes), f"{await call.code()}: {await call.details()}"
    return message


async def final_status(call: Call) -> tuple[grpc.StatusCode, str]:
    """The status with which the server ends the stream; messages before it are ignored."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details()
