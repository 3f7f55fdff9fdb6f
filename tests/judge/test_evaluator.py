import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from osm_probes.foundation.problem import Problem
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.lifecycle import Phase
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.program_view import ProgramView
from osm_probes.judge.result import ProbeResult
from osm_probes.runtime.initial_judge_state import CONTROLLER, INJECTOR
from tests.judge.evaluators import HEALTHY, Clock, evaluator_of, no, view

UNREAD = msgspec.structs.replace(
    HEALTHY, problems={**HEALTHY.problems, "mesh": Problem("the mesh has not been read yet")}
)


def reasons(result: ProbeResult) -> dict[str, str]:
    return {check.name: check.reason for check in result.checks if not check.healthy}


async def test_ready_when_all_checks_say_yes() -> None:
    result = await evaluator_of(view()).ready()
    assert result.healthy
    assert [check.name for check in result.checks] == ["ads", "mesh", "updates", "certificates", "capacity", "draining"]


async def test_a_failed_connection_makes_readiness_fail_and_never_liveness() -> None:
    evaluator = evaluator_of(view(), connections={"ads": no})
    assert reasons(await evaluator.ready()) == {"ads": "refused"}
    assert evaluator.alive().healthy


async def test_a_program_that_has_not_served_is_not_ready_whoever_answers_on_its_port() -> None:
    result = await evaluator_of(view(phase=Phase.STARTING)).ready()
    assert reasons(result) == {"ads": "it has not served yet"}


async def test_a_program_that_has_not_said_how_to_connect_is_not_ready() -> None:
    program = view(msgspec.structs.replace(HEALTHY, ads=None))
    assert reasons(await ProbeEvaluator(program).ready()) == {"ads": "it has not served yet"}


async def test_readiness_of_a_starting_program_waits_as_its_clients_do() -> None:
    heartbeat = Heartbeat.create()
    heartbeat.show(Phase.STARTING, has_served=False)

    async def accepted_late() -> None:
        await asyncio.sleep(0)
        heartbeat.show(Phase.SERVING, has_served=True)

    evaluator = evaluator_of(ProgramView(heartbeat, HEALTHY), connections={"ads": accepted_late})
    assert (await evaluator.ready()).healthy


async def test_a_program_that_binds_again_is_not_connected_to() -> None:
    async def connected() -> None:
        pytest.fail("connected")

    result = await evaluator_of(view(phase=Phase.RECOVERING), connections={"ads": connected}).ready()
    assert reasons(result) == {"ads": "it lost its listener and binds again"}


async def test_a_draining_server_is_alive_but_not_ready() -> None:
    evaluator = evaluator_of(view(phase=Phase.DRAINING))
    assert evaluator.alive().healthy
    assert reasons(await evaluator.ready()) == {"draining": "it is draining"}


async def test_a_draining_injector_names_its_review() -> None:
    evaluator = evaluator_of(view(INJECTOR, phase=Phase.DRAINING))
    assert evaluator.alive().checks[0].name == "webhook"
    assert reasons(await evaluator.ready()) == {"review": "it is draining"}


async def test_a_problem_that_was_never_sent_is_a_no() -> None:
    state = msgspec.structs.replace(CONTROLLER, canary_limit=0.01)
    assert reasons(await evaluator_of(view(state)).ready()) == {
        "mesh": "nothing known yet",
        "updates": "nothing known yet",
        "certificates": "no certificate yet",
        "capacity": "nothing known yet",
    }


async def test_a_new_state_counts_at_once() -> None:
    program = view()
    evaluator = evaluator_of(program)
    program.update(
        msgspec.structs.replace(HEALTHY, problems={**HEALTHY.problems, "capacity": Problem("1000 of 1000 proxies")})
    )
    assert reasons(await evaluator.ready()) == {"capacity": "1000 of 1000 proxies"}


async def test_an_expired_certificate_is_named_with_its_date() -> None:
    expiries = {"ads": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), "root": datetime.now(UTC) + timedelta(days=1)}
    evaluator = evaluator_of(view(msgspec.structs.replace(HEALTHY, expiries=expiries)))
    assert reasons(await evaluator.ready()) == {"certificates": "the ads certificate expired at 2020-01-02T03:04:05Z"}


async def test_an_excluded_check_is_neither_in_the_verdict_nor_observed() -> None:
    seen: list[ProbeResult] = []
    evaluator = evaluator_of(view(), connections={"ads": no}, observe=seen.append)
    assert (await evaluator.ready(exclude=["ads"])).healthy
    assert seen == []


async def test_a_stale_heartbeat_fails_both_probes() -> None:
    clock = Clock()
    program = view(clock=clock)
    evaluator = evaluator_of(program)
    for _ in range(155):
        clock.sleep(0.1)
        program.read()
    assert evaluator.alive().first_failure.reason == "no beat for 15.5 s"
    assert reasons(await evaluator.ready()) == {"ads": "no beat for 15.5 s"}


def test_after_a_pause_of_the_judge_the_beat_counts_from_the_moment_when_it_woke_up() -> None:
    clock = Clock()
    program = view(clock=clock)
    evaluator = evaluator_of(program)
    clock.sleep(600)
    assert evaluator.alive().healthy
    for _ in range(155):
        clock.sleep(0.1)
        program.read()
    assert not evaluator.alive().healthy


async def test_a_change_of_phase_or_state_makes_readiness_due() -> None:
    program = view()
    evaluator = evaluator_of(program)
    program.read()
    await evaluator.ready()
    assert evaluator.ready_checked_at > 0
    program.update(HEALTHY)
    assert evaluator.ready_checked_at == 0
    await evaluator.ready(exclude=["ads"])
    assert evaluator.ready_checked_at == 0  # not the whole of readiness


async def test_readiness_is_due_when_life_ends() -> None:
    clock = Clock()
    evaluator = evaluator_of(view(clock=clock))
    evaluator.alive()
    for _ in range(155):
        await evaluator.ready()
        assert evaluator.ready_checked_at > 0
        clock.sleep(0.1)
    assert not evaluator.alive().healthy
    assert evaluator.ready_checked_at == 0


async def test_a_change_during_readiness_keeps_it_due() -> None:
    program = view()

    async def slow() -> None:
        program.update(HEALTHY)

    evaluator = evaluator_of(program, connections={"ads": slow})
    program.read()
    assert (await evaluator.ready()).healthy
    assert evaluator.ready_checked_at == 0


def test_a_new_judge_does_not_excuse_a_program_that_hangs() -> None:
    clock = Clock()
    heartbeat = Heartbeat.create(clock=clock)
    heartbeat.show(Phase.SERVING, has_served=True)
    clock.sleep(600)
    assert not evaluator_of(ProgramView(heartbeat, HEALTHY, clock=clock)).alive().healthy


async def test_a_state_that_arrives_during_a_connection_counts_in_the_answer() -> None:
    program = view(UNREAD)

    async def updated_meanwhile() -> None:
        await asyncio.sleep(0)
        program.update(HEALTHY)

    assert (await evaluator_of(program, connections={"ads": updated_meanwhile}).ready()).healthy


async def test_readiness_waits_for_a_mesh_as_a_proxy_does() -> None:
    program = view(UNREAD)
    asking = asyncio.create_task(evaluator_of(program).ready())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    program.update(HEALTHY)
    assert (await asking).healthy


async def test_a_draining_or_unreachable_program_does_not_wait_for_a_mesh() -> None:
    async with asyncio.timeout(1):
        assert not (await evaluator_of(view(UNREAD, phase=Phase.DRAINING)).ready()).healthy
        assert not (await evaluator_of(view(UNREAD), connections={"ads": no}).ready()).healthy
