"""Health: a new TLS connection to oneself, or the reason why there is none, for a person."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from osm_probes.health.checks import UnhealthyError

_REDIAL: Final = 0.02
_CLOSED_WITHIN: Final = 0.05  # grpc never answers the goodbye of TLS, and each connection holds 256 KB until then


T = TypeVar("T")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[T]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Whom to dial, at a literal address, and how to trust it."""

    address: str
    port: int
    context: ssl.SSLContext
    server_name: str


async def asked(dial: Dial, talk: Talk[T], *, within: float) -> T:
    """What `talk` learns over a new connection, all within so many seconds.

    Raises UnhealthyError for what goes wrong before it and in it. Who is refused or cut off asks once more after 20 ms:
    between a server and its successor on the same port nobody listens for a moment, and what waited there is closed.
    """
    attempt = _Attempt(dial)
    where = f"{dial.address}:{dial.port}"
    try:
        async with asyncio.timeout(within):
            try:
                return await attempt.run(talk)
            except (EOFError, ConnectionError):
                await asyncio.sleep(_REDIAL)
                return await attempt.run(talk)
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
    """One connection after the other, and how far the last one came."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self.step = ""

    async def run(self, talk: Talk[T]) -> T:
        self.step = "TCP connection"
        connection = await _connect(self._dial.address, self._dial.port)
        self.step = "TLS handshake"
        reader, writer = await _secured(connection, self._dial.context, self._dial.server_name)
        self.step = "answer"
        try:
            learned = await talk(reader, writer)
            writer.close()
        except BaseException:
            writer.transport.abort()
            raise
        return learned


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
