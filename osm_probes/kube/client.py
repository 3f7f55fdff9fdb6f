"""Requests -> the Kubernetes API -> bytes: each bounded in time, each no translated."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError

from osm_probes.kube.errors import (
    BusyError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
    UnreachableError,
    UnusableKubeconfigError,
)
from osm_probes.kube.kind import Kind

if TYPE_CHECKING:
    from httpx2.websockets import AsyncWebSocketSession

REQUEST_WITHIN: Final = 15.0
# TCP has so much of a request's time, and TLS again. Were that cut off by the request's own limit, the library would
# not close the connection (its `except Exception` lets a cancellation pass): each attempt would cost a descriptor.
_CONNECT_SHARE: Final = 0.3
# An API server sends a bookmark a minute at least: a watch that is silent for longer is dead.
SILENCE: Final = 90.0
LINE_LIMIT: Final = 16 << 20
"""The longest event of a watch that is taken, in bytes: etcd's objects have 1.5 MB at most."""

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_REFUSALS: Final[Mapping[int, type[KubernetesError]]] = {
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
}

Object = Mapping[str, Any]
"""An object as it is written: plain JSON."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status; `retry_after` is the header of that name."""

    status: int
    content: bytes
    retry_after: str | None = None


class KubernetesClient:
    """One API server, asked as one user. Close it after use, with `close()` or `async with`."""

    def __init__(self, http: httpx2.AsyncClient, *, within: float = REQUEST_WITHIN) -> None:
        self._http = http
        self._within = within

    def bounded(self, within: float) -> "KubernetesClient":
        """The same client, each request of which has so many seconds; it is closed with this one."""
        return KubernetesClient(self._http, within=within)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "KubernetesClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def read(self, kind: Kind, name: str, *, namespace: str = "") -> bytes:
        """One object as JSON. Raises KubernetesError; AbsentError where there is none."""
        return await self.ask("GET", kind.path(namespace=namespace, name=name))

    async def create(self, kind: Kind, body: Object, *, namespace: str = "") -> bytes:
        """Create an object; what became of it. Raises KubernetesError; ConflictError where it is there already."""
        return await self.ask("POST", kind.path(namespace=namespace), body=body)

    async def replace(self, kind: Kind, name: str, body: Object, *, namespace: str = "") -> bytes:
        """Replace an object, if it is still the version in `body`. Raises KubernetesError; ConflictError if not."""
        return await self.ask("PUT", kind.path(namespace=namespace, name=name), body=body)

    async def patch(
        self, kind: Kind, name: str, body: object, *, form: str = MERGE_PATCH, namespace: str = ""
    ) -> bytes:
        """Change a part of an object. Raises KubernetesError."""
        return await self.ask("PATCH", kind.path(namespace=namespace, name=name), body=body, form=form)

    async def delete(self, kind: Kind, name: str, *, namespace: str = "", body: Object | None = None) -> bytes:
        """Delete an object; `body` = DeleteOptions. Raises KubernetesError."""
        return await self.ask("DELETE", kind.path(namespace=namespace, name=name), body=body)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        form: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """One request and its answer's body, within 15 s unless `bounded`. Raises KubernetesError."""
        answer = await self.exchange(method, path, query=query, body=body, form=form, accept=accept)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise refusal(answer.status, answer.content, retry_after=answer.retry_after)
        return answer.content

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        form: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """As `ask`, where any status is an answer: a pod's, whom the API server asks. Raises KubernetesError."""
        headers = {"Accept": accept, "Content-Type": form}
        content = None if body is None else msgspec.json.encode(body)
        with _translated(f"{method} {path}"):
            async with asyncio.timeout(self._within):
                answer = await self._http.request(
                    method, path, params=query, content=content, headers=headers, timeout=self._timeout()
                )
                return Answer(answer.status_code, answer.content, answer.headers.get("Retry-After"))

    @contextlib.asynccontextmanager
    async def lines(
        self, path: str, *, query: Mapping[str, str], accept: str = "application/json"
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """An answer that comes line by line, as a watch's; silence for 90 s breaks it. Raises KubernetesError."""
        with _translated(f"watch {path}"):
            async with self._http.stream(
                "GET", path, params=query, headers={"Accept": accept}, timeout=self._timeout(read=SILENCE)
            ) as answer:
                if answer.is_error:
                    async with asyncio.timeout(REQUEST_WITHIN):
                        content = await answer.aread()
                    raise refusal(answer.status_code, content, retry_after=answer.headers.get("Retry-After"))
                yield _lines(answer.aiter_bytes())

    def websocket(
        self, path: str, *, query: Mapping[str, str], protocol: str
    ) -> contextlib.AbstractAsyncContextManager["AsyncWebSocketSession"]:
        """A WebSocket to this path; what it raises is the library's, which never leaves this package."""
        return self._http.websocket(path, params=query, subprotocols=[protocol], keepalive_ping_interval_seconds=None)

    def _timeout(self, *, read: float | None = None) -> httpx2.Timeout:
        return httpx2.Timeout(self._within, connect=_CONNECT_SHARE * self._within, read=read or self._within)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line])
            rest, size = [], 0
        rest.append(last)
        size += len(last)
        if size > LINE_LIMIT:
            raise KubernetesError(f"an event of more than {LINE_LIMIT >> 20} MiB")


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.TransportError, TimeoutError) as error:
        raise UnreachableError(f"{what}: {_reason(error)}") from error
    except httpx2.HTTPError as error:
        raise KubernetesError(f"{what}: {_reason(error)}") from error
    except (ConfigError, httpx2.InvalidURL, OSError) as error:
        raise UnusableKubeconfigError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error) or {"ReadTimeout": "no answer in time", "ConnectTimeout": "no connection in time"}.get(
        type(error).__name__, type(error).__name__
    )


def refusal(status: int, content: bytes, *, retry_after: str | None = None) -> KubernetesError:
    """The error that an answer other than 2xx is, with the API server's words."""
    try:
        words = msgspec.json.decode(content, type=_Status).message
    except msgspec.DecodeError:
        words = content[:200].decode("utf-8", "replace").strip()
    text = words or f"HTTP status {status}"
    if status in _BUSY:
        return BusyError(text, retry_after=_whole_seconds(retry_after))
    if status == HTTPStatus.UNAUTHORIZED:
        return ForbiddenError(f"{text}: the API server does not know this user")
    known = _REFUSALS.get(status)
    return known(text) if known else KubernetesError(f"{text} ({status})")


def _whole_seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() and len(text) < 6 else 0.0
