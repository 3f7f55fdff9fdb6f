"""The judge's end of the socket pair to its program."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, Self

from osm_probes.health.judge_state import JudgeState
from osm_probes.health.messages import LINE_LIMIT, PageRequest, ToProgram, line_of, message_to_judge

_PAGE_WITHIN: Final = 1.0
_UNSENT_LIMIT: Final = 65536


class ProgramLink:
    """Sends what the program reads, and drops what it does not: a stopped program costs no memory and no time.

    page_within: seconds that the program has to write a page.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, page_within: float = _PAGE_WITHIN
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._page_within = page_within
        self._requested: dict[str, asyncio.Future[str]] = {}

    @classmethod
    async def over(cls, pair: socket.socket, *, page_within: float = _PAGE_WITHIN) -> Self:
        """The link over this end of the pair."""
        reader, writer = await asyncio.open_unix_connection(sock=pair, limit=LINE_LIMIT)
        return cls(reader, writer, page_within=page_within)

    @property
    def unsent(self) -> int:
        """Bytes that wait for the program to read."""
        return self._writer.transport.get_write_buffer_size()

    def send(self, message: ToProgram) -> None:
        """Send a message, or drop it if the program does not read. It never blocks."""
        if self.unsent < _UNSENT_LIMIT:
            self._writer.write(line_of(message))

    async def first(self) -> JudgeState | None:
        """The program's first state; None if it has ended."""
        line = await self._line()
        message = message_to_judge(line) if line else None
        return message if isinstance(message, JudgeState) else None

    async def receive(self, update: Callable[[JudgeState], None]) -> None:
        """Take what the program sends, until it ends."""
        while line := await self._line():
            message = message_to_judge(line)
            if isinstance(message, JudgeState):
                update(message)
            elif (requested := self._requested.pop(message.name, None)) and not requested.done():
                requested.set_result(message.text)

    async def page(self, name: str) -> str | None:
        """A page that the program writes; None if it does not answer in time. Requests at the same time are one."""
        requested = self._requested.get(name)
        if requested is None:
            requested = self._requested[name] = asyncio.get_running_loop().create_future()
            self.send(PageRequest(name))
        try:
            async with asyncio.timeout(self._page_within):
                return await asyncio.shield(requested)
        except TimeoutError:
            if self._requested.get(name) is requested:  # the request may have been dropped: send a new one next time
                del self._requested[name]
            return None

    async def close(self) -> None:
        """Close this end of the pair."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except OSError:
            return b""
        return line if line.endswith(b"\n") else b""
