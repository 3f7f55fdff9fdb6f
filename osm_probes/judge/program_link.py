"""Judge -> program: the judge's end of the socket pair."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, Self

from osm_probes.health.judge_state import JudgeState
from osm_probes.health.messages import LINE_LIMIT, TextRequest, ToProgram, line_of, message_to_judge

_TEXT_WITHIN: Final = 1.0
_UNREAD_LIMIT: Final = 65536


class ProgramLink:
    """Tells the program what it reads, and drops what it does not: a stopped program costs no memory and no time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._asked: dict[str, asyncio.Future[str]] = {}

    @classmethod
    async def over(cls, pair: socket.socket) -> Self:
        """The link over this end of the pair."""
        return cls(*await asyncio.open_unix_connection(sock=pair, limit=LINE_LIMIT))

    @property
    def unread(self) -> int:
        """Bytes that wait here for the program to read."""
        return self._writer.transport.get_write_buffer_size()

    def say(self, message: ToProgram) -> None:
        """Tell the program; never waits."""
        if self.unread < _UNREAD_LIMIT:
            self._writer.write(line_of(message))

    async def first(self) -> JudgeState | None:
        """The briefing with which the program begins; None if it has ended."""
        line = await self._line()
        message = message_to_judge(line) if line else None
        return message if isinstance(message, JudgeState) else None

    async def hear(self, brief: Callable[[JudgeState], None]) -> None:
        """Take what the program says, until it has ended."""
        while line := await self._line():
            message = message_to_judge(line)
            if isinstance(message, JudgeState):
                brief(message)
            elif (asked := self._asked.pop(message.topic, None)) and not asked.done():
                asked.set_result(message.text)

    async def text(self, topic: str) -> str | None:
        """What the program says about a topic, None if it is silent for 1 s. Many askers at once are one question."""
        asked = self._asked.get(topic)
        if asked is None:
            asked = self._asked[topic] = asyncio.get_running_loop().create_future()
            self.say(TextRequest(topic))
        try:
            async with asyncio.timeout(_TEXT_WITHIN):
                return await asyncio.shield(asked)
        except TimeoutError:
            if self._asked.get(topic) is asked:  # the question may never have reached it
                del self._asked[topic]
            return None

    async def close(self) -> None:
        """Give the pair back."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except OSError:
            return b""
        return line if line.endswith(b"\n") else b""
