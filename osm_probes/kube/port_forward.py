"""Connections to a port inside a pod, loopback included, through the API server, as `kubectl port-forward` makes them.

The protocol is v4.channel.k8s.io over WebSocket, which every kubelet supports: the first byte of each frame is its
channel, 0 for data and 1 for an error; the first frame of each channel contains the port and no data.
"""

import asyncio
import http.client
import io
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from httpx2.websockets import AsyncWebSocketSession, HTTPXWSException, WebSocketDisconnect, WebSocketUpgradeError

from osm_probes.kube.client import KubernetesClient, Response
from osm_probes.kube.errors import KubernetesError, UnreachableError
from osm_probes.kube.kind import PODS

_PROTOCOL: Final = "v4.channel.k8s.io"
_DATA_CHANNEL: Final = 0
_RESPONSE_LIMIT: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class PodPort:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int

    def __str__(self) -> str:
        return f"port {self.port} of pod {self.namespace}/{self.pod}"


class ForwardedConnection:
    """One connection to a pod's port."""

    def __init__(self, websocket: AsyncWebSocketSession) -> None:
        self._websocket = websocket
        self._opened_channels: set[int] = set()

    async def send(self, content: bytes) -> None:
        """Send bytes to the port."""
        if content:
            await self._websocket.send_bytes(bytes([_DATA_CHANNEL]) + content)

    async def receive(self) -> bytes:
        """Receive bytes; b"" at the end. Raises UnreachableError if the kubelet cannot connect to the port."""
        while True:
            try:
                channel, *_ = frame = await self._websocket.receive_bytes()
            except WebSocketDisconnect:
                return b""
            content = frame[1:]
            if channel not in self._opened_channels:
                self._opened_channels.add(channel)
            elif channel != _DATA_CHANNEL:
                raise UnreachableError(content.decode(errors="replace").strip())
            elif content:
                return content


@asynccontextmanager
async def port_forward(
    client: KubernetesClient, target: PodPort, *, within: float
) -> AsyncGenerator[ForwardedConnection]:
    """Connect to a port of a pod, for at most `within` seconds. Raises KubernetesError, also for I/O in the block."""
    path = f"{PODS.path(namespace=target.namespace, name=target.pod)}/portforward"
    query = {"ports": str(target.port)}
    try:
        async with asyncio.timeout(within):
            async with client.websocket(path, query=query, protocol=_PROTOCOL) as websocket:
                yield ForwardedConnection(websocket)
    except WebSocketUpgradeError as error:
        # The library drops the body of the response; the same request without an upgrade raises its message.
        await client.request("GET", path, query=query)
        raise UnreachableError(f"{path}: {error}") from error
    except (httpx2.TransportError, HTTPXWSException, TimeoutError, ExceptionGroup, UnreachableError) as error:
        raise _translate_error(error, target) from error


def _translate_error(error: Exception, target: PodPort) -> KubernetesError:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return UnreachableError(f"{target}: {str(error) or type(error).__name__}")


async def http_get(client: KubernetesClient, target: PodPort, path: str, *, within: float = 15.0) -> Response:
    """Send a plain HTTP GET to the port. Raises KubernetesError if there is no response within `within` seconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with port_forward(client, target, within=within) as connection:
        await connection.send(request.encode())
        content = await _receive_all(connection)
    try:
        response = http.client.HTTPResponse(_ReceivedBytes(content))  # type: ignore[arg-type]  # only makefile is used
        response.begin()
        return Response(response.status, response.read())
    except http.client.HTTPException as error:
        raise UnreachableError(f"{target} does not answer in HTTP: {type(error).__name__}") from error


async def verification_error(
    client: KubernetesClient, target: PodPort, *, name: str, roots_pem: str, within: float
) -> str:
    """The error of a client that verifies the port's certificate for `name` against these roots; "" if it is valid.

    Raises KubernetesError if the TLS handshake fails for another reason, ValueError if the roots cannot be parsed.
    """
    try:
        context = ssl.create_default_context(cadata=roots_pem)
    except ssl.SSLError as error:
        raise ValueError(f"roots cannot be read: {error.reason}") from error
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname=name)
    async with port_forward(client, target, within=within) as connection:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await connection.send(sent.read())
                if not (content := await connection.receive()):
                    raise UnreachableError("it closed the connection during the TLS handshake") from None
                received.write(content)
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                raise UnreachableError(f"no TLS: {error.reason}") from error
            else:
                return ""


async def _receive_all(connection: ForwardedConnection) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < _RESPONSE_LIMIT and (content := await connection.receive()):
        parts.append(content)
        size += len(content)
    return b"".join(parts)


class _ReceivedBytes:
    """Received bytes in place of the socket that http.client reads from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._content)
