"""A proxy that never reads, as if its process were stopped: its flow-control window stays closed."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from h2.connection import H2Connection

from osm_probes.pki.certificate import Certificate
from tests.ads.client import AUTHORITY, SERVER_NAME, STREAM


@asynccontextmanager
async def stalled_proxy(port: int, certificate: Certificate, *requests: bytes) -> AsyncGenerator[None, None]:
    """Connect, open a stream and send the requests, but read nothing."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=_context(certificate), server_hostname=SERVER_NAME, limit=1
    )
    http = H2Connection()
    http.initiate_connection()
    headers = {
        ":method": "POST",
        ":scheme": "https",
        ":path": STREAM,
        ":authority": SERVER_NAME,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    http.send_headers(1, list(headers.items()))
    for request in requests:
        http.send_data(1, b"\0" + len(request).to_bytes(4, "big") + request)
    writer.write(http.data_to_send())
    await writer.drain()
    try:
        yield
    finally:
        writer.transport.abort()


def _context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=AUTHORITY.root_pem.decode())
    context.set_alpn_protocols(["h2"])
    descriptor = os.memfd_create("pair")
    try:
        os.write(descriptor, certificate.key_pem + certificate.chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
