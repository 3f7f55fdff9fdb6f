"""A port inside of a pod, its loopback included, reached through the API server: what `kubectl port-forward` does.

The form is the older one, which each kubelet speaks: WebSocket frames whose first byte is a channel, 0 for data and 1
for an error; the first frame of each is the port.
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

from osm_probes.kube.client import Answer, KubernetesClient
from osm_probes.kube.errors import KubernetesError, UnreachableError
from osm_probes.kube.kind import PODS

_PROTOCOL: Final = "v4.channel.k8s.io"
_DATA: Final = 0


@dataclass(frozen=True, slots=True)
class PodPort:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int

    def __str__(self) -> str:
        return f"port {self.port} of pod {self.namespace}/{self.pod}"


class Forward:
    """One connection to the port."""

    def __init__(self, frames: AsyncWebSocketSession) -> None:
        self._frames = frames
        self._begun: set[int] = set()

    async def send(self, content: bytes) -> None:
        """Send bytes to the port."""
        if content:
            await self._frames.send_bytes(bytes([_DATA]) + content)

    async def receive(self) -> bytes:
        """What the port says next; b"" at its end. Raises UnreachableError where the kubelet cannot reach it."""
        while True:
            try:
                channel, *_ = frame = await self._frames.receive_bytes()
            except WebSocketDisconnect:
                return b""
            content = frame[1:]
            if channel not in self._begun:
                self._begun.add(channel)
            elif channel != _DATA:
                raise UnreachableError(content.decode(errors="replace").strip())
            elif content:
                return content


@asynccontextmanager
async def forwarded(client: KubernetesClient, to: PodPort, *, within: float) -> AsyncGenerator[Forward]:
    """A connection to a port of a pod, for so many seconds. Raises KubernetesError, for what the block does too."""
    path = f"{PODS.path(namespace=to.namespace, name=to.pod)}/portforward"
    query = {"ports": str(to.port)}
    try:
        async with asyncio.timeout(within):
            async with client.websocket(path, query=query, protocol=_PROTOCOL) as frames:
                yield Forward(frames)
    except WebSocketUpgradeError as failure:
        # The library drops the words of a refusal: without an upgrade the API server says them again.
        await client.ask("GET", path, query=query)
        raise UnreachableError(f"{path}: {failure}") from failure
    except (httpx2.TransportError, HTTPXWSException, TimeoutError, ExceptionGroup, UnreachableError) as failure:
        raise _translated(failure, to) from failure


def _translated(failure: Exception, where: PodPort) -> KubernetesError:
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return UnreachableError(f"{where}: {str(failure) or type(failure).__name__}")


_LIMIT: Final = 64 << 20


async def get_inside(client: KubernetesClient, to: PodPort, path: str, *, within: float = 15.0) -> Answer:
    """What the port answers to a GET, in so many seconds. Raises KubernetesError."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with forwarded(client, to, within=within) as forward:
        await forward.send(request.encode())
        content = await _all(forward)
    try:
        answer = http.client.HTTPResponse(_Received(content))  # type: ignore[arg-type]  # makefile is all it uses
        answer.begin()
        return Answer(answer.status, answer.read())
    except http.client.HTTPException as error:
        raise UnreachableError(f"{to} does not answer in HTTP: {type(error).__name__}") from error


async def distrust(client: KubernetesClient, to: PodPort, *, name: str, roots_pem: str, within: float) -> str:
    """Why who trusts these roots does not trust the port's certificate for this name; "" if he does.

    Raises KubernetesError where the port shows none, ValueError where the roots cannot be read.
    """
    try:
        context = ssl.create_default_context(cadata=roots_pem)
    except ssl.SSLError as error:
        raise ValueError(f"roots cannot be read: {error.reason}") from error
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname=name)
    async with forwarded(client, to, within=within) as forward:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await forward.send(sent.read())
                if not (content := await forward.receive()):
                    raise UnreachableError("it ended the TLS handshake") from None
                received.write(content)
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                raise UnreachableError(f"no TLS: {error.reason}") from error
            else:
                return ""


async def _all(forward: Forward) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < _LIMIT and (content := await forward.receive()):
        parts.append(content)
        size += len(content)
    return b"".join(parts)


class _Received:
    """Bytes in the place of a socket, as http.client reads one."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._content)
