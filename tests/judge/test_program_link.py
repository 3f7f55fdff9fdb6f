import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.messages import METRICS, JudgeBeat, Page, PageRequest, line_of, message_to_program
from osm_probes.judge.program_link import ProgramLink
from osm_probes.runtime.initial_judge_state import CONTROLLER, INJECTOR


@asynccontextmanager
async def linked(
    *, page_within: float = 1.0
) -> AsyncIterator[tuple[ProgramLink, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A judge's link, and the program's end of it."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    link = await ProgramLink.over(ours, page_within=page_within)
    try:
        yield link, reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        await link.close()


async def test_the_first_message_is_the_state() -> None:
    async with linked() as (link, _, program):
        program.write(line_of(CONTROLLER))
        assert await link.first() == CONTROLLER


async def test_a_program_that_ended_has_no_state() -> None:
    async with linked() as (link, _, program):
        program.write(line_of(CONTROLLER)[:-5])
        program.close()
        assert await link.first() is None


async def test_states_are_received_until_the_program_ends() -> None:
    received: list[JudgeState] = []
    async with linked() as (link, _, program):
        program.write(line_of(CONTROLLER) + line_of(INJECTOR))
        program.close()
        await link.receive(received.append)
    assert received == [CONTROLLER, INJECTOR]


async def test_requests_for_metrics_at_the_same_time_are_one_message() -> None:
    async with linked() as (link, reader, program), background_tasks(receive=link.receive(lambda _: None)):
        asked = [asyncio.ensure_future(link.page(METRICS)) for _ in range(10)]
        assert message_to_program(await reader.readline()) == PageRequest(METRICS)
        program.write(line_of(Page(METRICS, "osm_x 1\n")))
        assert await asyncio.gather(*asked) == ["osm_x 1\n"] * 10
        link.send(JudgeBeat())
        assert message_to_program(await reader.readline()) == JudgeBeat()


async def test_a_silent_program_has_no_metrics_and_is_asked_again() -> None:
    async with linked(page_within=0.01) as (link, reader, _):
        assert await link.page(METRICS) is None
        assert await link.page(METRICS) is None
        assert [await reader.readline() for _ in range(2)] == [line_of(PageRequest(METRICS))] * 2


async def test_a_program_that_reads_nothing_costs_no_memory_and_no_time() -> None:
    async with linked() as (link, reader, _):
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # a program that is stopped
        for _ in range(100_000):
            link.send(JudgeBeat())
        assert link.unsent < 70_000
