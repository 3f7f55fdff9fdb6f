"""Request -> answer: the values between a handler and the connection that carries them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from osm_probes.foundation.errors import OsmError

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


class RefusedRequestError(OsmError):
    """A request that gets this status with the text as its body."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


class Body(Protocol):
    """How a body is read."""

    async def __call__(self, *, limit: int, within: float) -> bytes:
        """All of it. Raises RefusedRequestError: it is larger, slower, or no body as HTTP has them."""


async def _empty(*, limit: int, within: float) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; path and query are decoded, `secure` = it came over TLS. A body that nobody reads is skipped."""

    path: str
    method: str = "GET"
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    secure: bool = False
    body: Body = _empty


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body."""

    status: HTTPStatus
    body: str
    content_type: str = TEXT


Handler = Callable[[Request], Awaitable[Answer | None]]
"""Answers a request; None = no response at all. It may raise RefusedRequestError."""
