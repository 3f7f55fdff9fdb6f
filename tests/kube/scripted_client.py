"""A client without sockets that gives scripted responses, in place of a KubernetesClient."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

Script = Sequence[bytes | Exception]


class ScriptedClient:
    """Gives one of `responses` to each request, one of `watches` to each watch, in order; an Exception is raised.

    After the script's end, requests and watches wait forever. requests: the path and query of each request. watched:
    the same of each watch.
    """

    def __init__(self, *responses: bytes | Exception, watches: Sequence[Script | Exception] = ()) -> None:
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.watched: list[tuple[str, Mapping[str, str]]] = []
        self._responses = iter(responses)
        self._watches = iter(watches)

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> bytes:
        """The next response."""
        assert (method, accept) == ("GET", "application/json")
        self.requests.append((path, dict(query or {})))
        response = next(self._responses, None)
        if response is None:
            await asyncio.Event().wait()
            raise AssertionError
        if isinstance(response, Exception):
            raise response
        return response

    @asynccontextmanager
    async def stream_lines(
        self, path: str, *, query: Mapping[str, str], accept: str = "application/json"
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The next watch; it ends after its last line."""
        assert accept == "application/json"
        self.watched.append((path, dict(query)))
        watch = next(self._watches, None)
        if isinstance(watch, Exception):
            raise watch
        yield _lines(watch)


async def _lines(script: Script | None) -> AsyncIterator[bytes]:
    for line in script or ():
        if isinstance(line, Exception):
            raise line
        yield line
    if script is None:
        await asyncio.Event().wait()


def page(*names: str, version: str = "1", more: str = "", **labels: str) -> bytes:
    """A page of a list of Services. more: its continue token."""
    return msgspec.json.encode(
        {
            "metadata": {"resourceVersion": version, "continue": more},
            "items": [service(name, version=version, **labels) for name in names],
        }
    )


def service(name: str, *, version: str = "1", **labels: str) -> dict[str, Any]:
    """A Service in the namespace shop."""
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": version, "labels": labels}}


def event(type_: str, content: object) -> bytes:
    """A line of a watch."""
    return msgspec.json.encode({"type": type_, "object": content})
