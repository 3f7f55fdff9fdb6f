"""A small ADS for tests: a real grpc server with mTLS whose one stream does what the test says."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

import grpc

from osm_probes.ads.canary_resource import EXPECTED, REQUEST
from osm_probes.canary.ads import PATH
from osm_probes.health.judge_state import AdsCanary
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate

NAME = "ads.osm-system.svc"
AUTHORITY = Authority.create("small-ads")

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Answer = Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]


class OneMethod(grpc.GenericRpcHandler):
    """The aggregated stream of xDS, bytes in and bytes out."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.stream_stream_rpc_method_handler(self._answer) if details.method == PATH else None


async def answering(requests: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
    """What an ADS does: one response, then the stream stays open."""
    async for request in requests:
        assert request == REQUEST
        yield b"\x0a\x011" + EXPECTED


@asynccontextmanager
async def small_ads(
    answer: Answer | None = answering, *, authority: Authority = AUTHORITY, certificate: Certificate | None = None
) -> AsyncIterator[AdsCanary]:
    """How to dial an ADS whose stream behaves like this; None = it has no such stream."""
    own = certificate or authority.issue(NAME, validity=timedelta(hours=1))
    canary = authority.issue("canary.osm-system.cluster.local", validity=timedelta(hours=1))
    server = grpc.aio.server(handlers=[OneMethod(answer)] if answer else [], options=[("grpc.so_reuseport", 0)])
    credentials = grpc.ssl_server_credentials(
        [(own.key_pem, own.chain_pem)], authority.root_pem, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield AdsCanary(
            address="127.0.0.1", port=port, server_name=NAME, root_pem=authority.root_pem,
            chain_pem=canary.chain_pem, key_pem=canary.key_pem, request=REQUEST, expected=EXPECTED,
        )  # fmt: skip
    finally:
        await server.stop(0)
