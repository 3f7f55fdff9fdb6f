"""A new TLS connection to one's own server, or the reason why there is none, as text for a person."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from osm_probes.health.checks import UnhealthyError

_LOOPBACK: Final = "127.0.0.1"
_LOOPBACK_IPV6: Final = "::1"
_NO_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EHOSTUNREACH, errno.EINVAL, errno.ENETUNREACH)
_RETRY_AFTER: Final = 0.02
_TLS_SHUTDOWN_WITHIN: Final = 0.05  # grpc never answers a TLS close_notify; a connection holds 256 KB until then

T = TypeVar("T")
Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[T]]
"""What to do with an open connection: send a request, read the response, return a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server at a literal address, and the TLS settings for it."""

    address: str
    port: int
    context: ssl.SSLContext
    server_name: str


async def connect_and_run(target: Target, exchange: Exchange[T], *, within: float) -> T:
    """Open a new connection and return the result of `exchange` on it, all within so many seconds.

    Raises UnhealthyError for every failure, before or during the exchange. A refused or closed connection is retried
    once after 20 ms, because the port may be changing hands: for a moment no server listens on it, and connections in
    the old server's queue are closed.
    """
    attempt = _Attempt(target)
    where = f"{target.address}:{target.port}"
    try:
        async with asyncio.timeout(within):
            try:
                return await attempt.run(exchange)
            except (EOFError, ConnectionError):
                await asyncio.sleep(_RETRY_AFTER)
                return await attempt.run(exchange)
    except TimeoutError as error:
        raise UnhealthyError(f"no {attempt.step} from {where} within {within:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise UnhealthyError(f"TLS: the server's certificate: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise UnhealthyError(f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}") from error
    except (EOFError, ConnectionResetError, BrokenPipeError) as error:
        raise UnhealthyError(f"{where} closed the connection before its {attempt.step} was complete") from error
    except ConnectionRefusedError as error:
        raise UnhealthyError(f"{where} refuses connections") from error
    except OSError as error:
        raise UnhealthyError(f"no {attempt.step} from {where}: {error.strerror or error}") from error


class _Attempt:
    """Connects once at each `run`; `step` is what the last run was waiting for."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.step = ""

    async def run(self, exchange: Exchange[T]) -> T:
        self.step = "TCP connection"
        connection = await _open_tcp(self._target.address, self._target.port)
        self.step = "TLS handshake"
        reader, writer = await _open_tls(connection, self._target.context, self._target.server_name)
        self.step = "answer"
        try:
            result = await exchange(reader, writer)
            writer.close()
        except BaseException:
            writer.transport.abort()
            raise
        return result


async def _open_tcp(address: str, port: int) -> socket.socket:
    try:
        return await _connect(address, port)
    except OSError as error:
        # In an IPv6-only network the loopback interface may lack its IPv4 address.
        if address != _LOOPBACK or error.errno not in _NO_ADDRESS:
            raise
        return await _connect(_LOOPBACK_IPV6, port)


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


async def _open_tls(
    connection: socket.socket, context: ssl.SSLContext, server_name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = _StreamProtocol(reader, loop=loop)
    try:
        transport, _ = await loop.create_connection(
            lambda: protocol,
            sock=connection,
            ssl=context,
            server_hostname=server_name,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_WITHIN,
        )
    except BaseException:
        protocol.abort()
        connection.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class _StreamProtocol(asyncio.StreamReaderProtocol):
    """A protocol that knows its transport.

    If a connection is cancelled at the end of its handshake, asyncio only begins to close its transport. A descriptor
    that is freed before the transport has let go of it is taken by another socket, which asyncio then refuses to use.
    """

    _made: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made = transport
        super().connection_made(transport)

    def abort(self) -> None:
        """Let go of the descriptor."""
        if isinstance(self._made, asyncio.WriteTransport):
            self._made.abort()
