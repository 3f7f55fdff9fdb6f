"""Accepted socket -> TLS connection with small buffers, because every client gets its own."""

import asyncio
import socket
import ssl
from typing import Any, Final

from asyncio.sslproto import SSLProtocol  # isort: skip # a part of asyncio

CHUNK: Final = 16 * 1024
"""The most bytes that are read from a connection at once: one TLS record."""


class _SmallBuffers(SSLProtocol):
    # asyncio allocates this buffer for each connection; its own size, 256 KiB, is 128 MiB for 512 connections.
    max_size = CHUNK

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # What is received while the reader pauses; asyncio's own limit is 256 KiB as well.
        self._set_read_buffer_limits(high=CHUNK)  # type: ignore[attr-defined] # asyncio's types leave it out


async def connect_tls(
    accepted: socket.socket, protocol: asyncio.Protocol, *, context: ssl.SSLContext, handshake: float, close: float
) -> asyncio.Transport:
    """Serve an accepted connection over TLS. handshake, close: the limits of both, in seconds. Raises OSError."""
    loop = asyncio.get_running_loop()
    established: asyncio.Future[None] = loop.create_future()
    tls = _SmallBuffers(
        loop,
        protocol,
        context,
        established,
        server_side=True,
        ssl_handshake_timeout=handshake,
        ssl_shutdown_timeout=close,
    )
    transport, _ = await loop.connect_accepted_socket(lambda: tls, accepted)
    try:
        await established
    except BaseException:
        transport.abort()
        raise
    return transport
