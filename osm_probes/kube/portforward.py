"""A port inside of a pod, its loopback included, reached through the API server: what `kubectl port-forward` does.

The form is the older one, which each kubelet speaks: WebSocket frames whose first byte is a channel, 0 for data and 1
for an error; the first frame of each is the port.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from httpx2.websockets import AsyncWebSocketSession, HTTPXWSException, WebSocketDisconnect, WebSocketUpgradeError

from osm_probes.kube.client import KubernetesClient
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
