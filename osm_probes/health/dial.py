"""Health: a new TLS connection to oneself, or the reason why there is none, for a person."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Final

from osm_probes.health.checks import UnhealthyError

_REDIAL: Final = 0.02
_CLOSED_WITHIN: Final = 0.05  # grpc never answers the goodbye of TLS, and each connection holds 256 KB until then


@contextlib.asynccontextmanager
async def dialled(
    address: str, *, port: int, context: ssl.SSLContext, server_name: str, within: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A new connection to a literal address; all that is done with it must be over `within` seconds.

    Raises UnhealthyError for what goes wrong before and inside. A refused dial is tried once more after 20 ms: between
    a server and its successor on the same port nobody listens for a moment.
    """
    step = "TCP connection"
    try:
        async with asyncio.timeout(within):
            connection = await _connected(address, port)
            step = "TLS handshake"
            reader, writer = await _secured(connection, context, server_name)
            step = "answer"
            try:
                yield reader, writer
                writer.close()
            except BaseException:
                writer.transport.abort()
                raise
    except TimeoutError as error:
        raise UnhealthyError(f"no {step} from {address}:{port} within {within:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise UnhealthyError(f"TLS: the server's certificate: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise UnhealthyError(f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}") from error
    except (EOFError, ConnectionResetError, BrokenPipeError) as error:
        raise UnhealthyError(f"{address}:{port} closed the connection before its {step} was complete") from error
    except ConnectionRefusedError as error:
        raise UnhealthyError(f"{address}:{port} refuses connections") from error
    except OSError as error:
        raise UnhealthyError(f"no {step} from {address}:{port}: {error.strerror or error}") from error


async def _connected(address: str, port: int) -> socket.socket:
    try:
        return await _connect(address, port)
    except ConnectionRefusedError:
        await asyncio.sleep(_REDIAL)
        return await _connect(address, port)


async def _connect(address: str, port: int) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(0.0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection


async def _secured(
    connection: socket.socket, context: ssl.SSLContext, server_name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection(
            sock=connection, ssl=context, server_hostname=server_name, ssl_shutdown_timeout=_CLOSED_WITHIN
        )
    except BaseException:
        connection.close()
        raise
