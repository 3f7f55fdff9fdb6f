"""HTTP requests to the Kubernetes API -> response bodies. Failures become KubernetesError."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError

from osm_probes.kube.contact import Contact
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
# TCP and TLS each get this share of a request's time. If the request's own timeout ended them, the library would not
# close the connection, because its `except Exception` does not catch a cancellation: one descriptor leaks per attempt.
_CONNECT_SHARE: Final = 0.3
# An API server sends a bookmark at least once a minute, so a watch that is silent for longer is dead.
WATCH_SILENCE: Final = 90.0
LINE_LIMIT: Final = 16 << 20
"""The longest accepted line of a watch, in bytes. An object in etcd has at most 1.5 MB."""

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_ERRORS: Final[Mapping[int, type[KubernetesError]]] = {
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
}

JsonObject = Mapping[str, Any]
"""The body of a request: an object as plain JSON."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response of any status. retry_after: the header of that name."""

    status: int
    content: bytes
    retry_after: str | None = None


class KubernetesClient:
    """A client of one API server, as one user. Close it after use, with `close()` or `async with`.

    contact: whether the API server answers the requests of this client and of those made by `with_timeout`.
    """

    def __init__(
        self, http: httpx2.AsyncClient, *, within: float = REQUEST_WITHIN, contact: Contact | None = None
    ) -> None:
        self.contact = contact or Contact()
        self._http = http
        self._within = within

    def with_timeout(self, within: float) -> "KubernetesClient":
        """A client on the same connections whose requests time out after `within` seconds. Close only the original."""
        return KubernetesClient(self._http, within=within, contact=self.contact)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "KubernetesClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def read(self, kind: Kind, name: str, *, namespace: str = "") -> bytes:
        """Return one object as JSON. Raises KubernetesError; NotFoundError if it does not exist."""
        return await self.request("GET", kind.path(namespace=namespace, name=name))

    async def create(self, kind: Kind, body: JsonObject, *, namespace: str = "") -> bytes:
        """Create an object and return it as stored. Raises KubernetesError; ConflictError if it exists already."""
        return await self.request("POST", kind.path(namespace=namespace), body=body)

    async def replace(self, kind: Kind, name: str, body: JsonObject, *, namespace: str = "") -> bytes:
        """Replace an object. Raises KubernetesError; ConflictError if its version is no longer the one in `body`."""
        return await self.request("PUT", kind.path(namespace=namespace, name=name), body=body)

    async def patch(
        self, kind: Kind, name: str, body: object, *, content_type: str = MERGE_PATCH, namespace: str = ""
    ) -> bytes:
        """Patch an object; content_type: MERGE_PATCH or JSON_PATCH. Raises KubernetesError."""
        path = kind.path(namespace=namespace, name=name)
        return await self.request("PATCH", path, body=body, content_type=content_type)

    async def delete(self, kind: Kind, name: str, *, namespace: str = "", body: JsonObject | None = None) -> bytes:
        """Delete an object; body: DeleteOptions. Raises KubernetesError."""
        return await self.request("DELETE", kind.path(namespace=namespace, name=name), body=body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """Send a request and return the body of the response. Raises KubernetesError, also for a status of 400 or more.

        The timeout is 15 s, or that of `with_timeout`.
        """
        response = await self.send(method, path, query=query, body=body, content_type=content_type, accept=accept)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise error_from_response(response)
        return response.content

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Response:
        """Send a request and return the response of any status, such as a pod's that the API server proxies.

        Raises KubernetesError if there is no response.
        """
        headers = {"Accept": accept, "Content-Type": content_type}
        content = None if body is None else msgspec.json.encode(body)
        with self._record_failure(), _translate_errors(f"{method} {path}"):
            async with asyncio.timeout(self._within):
                response = await self._http.request(
                    method, path, params=query, content=content, headers=headers, timeout=self._timeout()
                )
                self.contact.record_response()
                return Response(response.status_code, response.content, response.headers.get("Retry-After"))

    @contextlib.asynccontextmanager
    async def stream_lines(
        self, path: str, *, query: Mapping[str, str], accept: str = "application/json"
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """Stream the lines of a watch. Raises KubernetesError, also after 90 s without data."""
        with self._record_failure(), _translate_errors(f"watch {path}"):
            async with self._http.stream(
                "GET", path, params=query, headers={"Accept": accept}, timeout=self._timeout(read=WATCH_SILENCE)
            ) as response:
                self.contact.record_response()
                if response.is_error:
                    async with asyncio.timeout(REQUEST_WITHIN):
                        content = await response.aread()
                    retry_after = response.headers.get("Retry-After")
                    raise error_from_response(Response(response.status_code, content, retry_after))
                yield _split_lines(response.aiter_bytes())

    def websocket(
        self, path: str, *, query: Mapping[str, str], protocol: str
    ) -> contextlib.AbstractAsyncContextManager["AsyncWebSocketSession"]:
        """Open a WebSocket. It raises errors of httpx2, which callers in this package must translate."""
        return self._http.websocket(path, params=query, subprotocols=[protocol], keepalive_ping_interval_seconds=None)

    @contextlib.contextmanager
    def _record_failure(self) -> Iterator[None]:
        try:
            yield
        except UnreachableError:
            self.contact.record_failure()
            raise

    def _timeout(self, *, read: float | None = None) -> httpx2.Timeout:
        return httpx2.Timeout(self._within, connect=_CONNECT_SHARE * self._within, read=read or self._within)


async def _split_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *complete, last = chunk.split(b"\n")
        for line in complete:
            yield b"".join([*rest, line])
            rest, size = [], 0
        rest.append(last)
        size += len(last)
        if size > LINE_LIMIT:
            raise KubernetesError(f"a watch event is longer than {LINE_LIMIT >> 20} MiB")


@contextlib.contextmanager
def _translate_errors(action: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.TransportError, TimeoutError) as error:
        raise UnreachableError(f"{action}: {_reason(error)}") from error
    except httpx2.HTTPError as error:
        raise KubernetesError(f"{action}: {_reason(error)}") from error
    except (ConfigError, httpx2.InvalidURL, OSError) as error:
        raise UnusableKubeconfigError(f"{action}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error) or {"ReadTimeout": "no response in time", "ConnectTimeout": "no connection in time"}.get(
        type(error).__name__, type(error).__name__
    )


def error_from_response(response: Response) -> KubernetesError:
    """The error that a response with status 400 or more means; its text is the API server's message."""
    try:
        message = msgspec.json.decode(response.content, type=_Status).message
    except msgspec.DecodeError:
        message = response.content[:200].decode("utf-8", "replace").strip()
    status, text = response.status, message or f"HTTP status {response.status}"
    if status in _BUSY:
        return BusyError(text, retry_after=_parse_seconds(response.retry_after))
    if status == HTTPStatus.UNAUTHORIZED:
        return ForbiddenError(f"{text}: the API server does not know this user")
    error = _ERRORS.get(status)
    return error(text) if error else KubernetesError(f"{text} ({status})")


def _parse_seconds(header: str | None) -> float:
    return float(header) if header and header.isdecimal() and len(header) < 6 else 0.0
