import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.judge_state import CONTROLLER, INJECTOR, JudgeState
from osm_probes.health.messages import METRICS, Beat, Text, TextRequest, line_of, message_to_program
from osm_probes.judge.program_link import ProgramLink


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[ProgramLink, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A judge's link, and the program's end of it."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    link = await ProgramLink.over(ours)
    try:
        yield link, reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        await link.close()


async def test_the_first_thing_said_is_the_briefing() -> None:
    async with linked() as (link, _, program):
        program.write(line_of(CONTROLLER))
        assert await link.first() == CONTROLLER


async def test_a_program_that_ended_has_no_briefing() -> None:
    async with linked() as (link, _, program):
        program.write(line_of(CONTROLLER)[:-5])
        program.close()
        assert await link.first() is None


async def test_briefings_are_heard_until_the_program_ends() -> None:
    heard: list[JudgeState] = []
    async with linked() as (link, _, program):
        program.write(line_of(CONTROLLER) + line_of(INJECTOR))
        program.close()
        await link.hear(heard.append)
    assert heard == [CONTROLLER, INJECTOR]


async def test_many_who_ask_for_metrics_are_one_question() -> None:
    async with linked() as (link, reader, program), background_tasks(hear=link.hear(lambda _: None)):
        asked = [asyncio.ensure_future(link.text(METRICS)) for _ in range(10)]
        assert message_to_program(await reader.readline()) == TextRequest(METRICS)
        program.write(line_of(Text(METRICS, "osm_x 1\n")))
        assert await asyncio.gather(*asked) == ["osm_x 1\n"] * 10
        link.say(Beat())
        assert message_to_program(await reader.readline()) == Beat()


async def test_a_silent_program_has_no_metrics_and_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osm_probes.judge.program_link._TEXT_WITHIN", 0.01)
    async with linked() as (link, reader, _):
        assert await link.text(METRICS) is None
        assert await link.text(METRICS) is None
        assert [await reader.readline() for _ in range(2)] == [line_of(TextRequest(METRICS))] * 2


async def test_a_program_that_reads_nothing_costs_no_memory_and_no_time() -> None:
    async with linked() as (link, reader, _):
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # a program that is stopped
        for _ in range(100_000):
            link.say(Beat())
        assert link.unread < 70_000
