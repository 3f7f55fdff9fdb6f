"""A fake ADS: a real grpc server with mTLS whose one stream does what the test defines."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

import grpc

from osm_probes.canary.ads import PATH
from osm_probes.health.judge_state import AdsCanary
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.canary_resource import STEPS

NAME = "ads.osm-system.svc"
AUTHORITY = Authority.create("fake-ads")

Rpc: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Behaviour = Callable[[AsyncIterator[bytes], Rpc], AsyncIterator[bytes]]


class _Handler(grpc.GenericRpcHandler):
    """The aggregated stream of xDS, with bytes as requests and responses."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.stream_stream_rpc_method_handler(self._behaviour) if details.method == PATH else None


async def respond(requests: AsyncIterator[bytes], _: Rpc) -> AsyncIterator[bytes]:
    """Behave as the ADS does: send one response for each step, then keep the stream open."""
    for step in STEPS:
        for expected in step.requests:
            assert await anext(requests) == expected
        yield b"\x0a\x011" + step.expected
    async for _request in requests:
        raise AssertionError("the canary sent more than its steps")


@asynccontextmanager
async def fake_ads(
    behaviour: Behaviour | None = respond,
    *,
    authority: Authority = AUTHORITY,
    certificate: Certificate | None = None,
) -> AsyncIterator[AdsCanary]:
    """The canary of an ADS whose stream behaves like this; None means that it does not have the method."""
    own = certificate or authority.issue(NAME, validity=timedelta(hours=1))
    canary = authority.issue("canary.osm-system.cluster.local", validity=timedelta(hours=1))
    server = grpc.aio.server(handlers=[_Handler(behaviour)] if behaviour else [], options=[("grpc.so_reuseport", 0)])
    credentials = grpc.ssl_server_credentials(
        [(own.key_pem, own.chain_pem)], authority.root_pem, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield AdsCanary(
            address="127.0.0.1", port=port, server_name=NAME, root_pem=authority.root_pem,
            chain_pem=canary.chain_pem, key_pem=canary.key_pem, steps=STEPS,
        )  # fmt: skip
    finally:
        await server.stop(0)
