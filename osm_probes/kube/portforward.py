"""A port inside of a pod, its loopback included, reached through the API server: what `kubectl port-forward` does.

The form is the older one, which each kubelet speaks: WebSocket frames whose first byte is a channel, 0 for data and 1
for an error; the first frame of each is the port.
"""

import asyncio
import http.client
import io
from typing import Final

import httpx2
from httpx2.websockets import AsyncWebSocketSession, HTTPXWSException, WebSocketDisconnect, WebSocketUpgradeError

from osm_probes.kube.client import Answer, KubernetesClient
from osm_probes.kube.errors import UnreachableError
from osm_probes.kube.kind import PODS

_PROTOCOL: Final = "v4.channel.k8s.io"
_DATA: Final = 0
_ERROR: Final = 1
_LIMIT: Final = 64 << 20


async def get_inside(
    client: KubernetesClient, *, namespace: str, pod: str, port: int, path: str, within: float = 15.0
) -> Answer:
    """What a port of the pod answers to a GET, in so many seconds. Raises KubernetesError."""
    forward = f"{PODS.path(namespace=namespace, name=pod)}/portforward"
    query = {"ports": str(port)}
    try:
        async with asyncio.timeout(within):
            async with client.websocket(forward, query=query, protocol=_PROTOCOL) as frames:
                await frames.send_bytes(bytes([_DATA]) + _request(path))
                data, error = await _received(frames)
    except WebSocketUpgradeError as failure:
        # The library drops the words of a refusal: without an upgrade the API server says them again.
        await client.ask("GET", forward, query=query)
        raise UnreachableError(f"{forward}: {failure}") from failure
    except (httpx2.TransportError, HTTPXWSException, TimeoutError, ExceptionGroup) as failure:
        raise UnreachableError(f"{forward} of port {port}: {_reason(failure)}") from failure
    if error:
        raise UnreachableError(f"port {port} of pod {namespace}/{pod}: {error}")
    return _answer(data, f"port {port} of pod {namespace}/{pod}")


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


async def _received(frames: AsyncWebSocketSession) -> tuple[bytes, str]:
    """What came until the pod closed the connection, and why it could not be reached."""
    parts: dict[int, list[bytes]] = {}
    size = 0
    try:
        while size < _LIMIT:
            channel, *_ = frame = await frames.receive_bytes()
            parts.setdefault(channel, []).append(frame[1:])
            size += len(frame)
            if len(parts.get(_ERROR, ())) > 1:
                break
    except WebSocketDisconnect:
        pass
    data, error = (b"".join(parts.get(channel, [])[1:]) for channel in (_DATA, _ERROR))
    return data, error.decode(errors="replace").strip()


class _Received:
    """Bytes in the place of a socket, as http.client reads one."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._content)


def _answer(content: bytes, where: str) -> Answer:
    try:
        answer = http.client.HTTPResponse(_Received(content))  # type: ignore[arg-type]  # makefile is all it uses
        answer.begin()
        return Answer(answer.status, answer.read())
    except http.client.HTTPException as error:
        raise UnreachableError(f"{where} does not answer in HTTP: {type(error).__name__}") from error


def _reason(failure: Exception) -> str:
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) or type(failure).__name__
