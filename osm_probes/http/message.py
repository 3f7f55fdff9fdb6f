"""Request and answer: the values that a connection and a handler exchange."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from osm_probes.foundation.errors import OsmError

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


class RefusedRequestError(OsmError):
    """The request is answered with this status, and with the text as the body."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Body(Protocol):
    """Reads the body of a request."""

    async def __call__(self, *, limit: int, within: float) -> bytes:
        """The whole body. Raises RefusedRequestError if it is too long (bytes), too slow (seconds) or malformed."""


async def _empty(*, limit: int, within: float) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Path and query are decoded. A body that is not read is skipped.

    secure: over TLS. verified: the client has a certificate that the server's TLS context accepts. client: IP address.
    """

    path: str
    method: str = "GET"
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    secure: bool = False
    verified: bool = False
    client: str = ""
    body: Body = _empty


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body."""

    status: HTTPStatus
    body: str
    content_type: str = TEXT


Handler = Callable[[Request], Awaitable[Answer | None]]
"""Answers a request; None closes the connection without a response. It may raise RefusedRequestError."""
