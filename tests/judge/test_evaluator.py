import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from osm_probes.health.checks import Question, UnhealthyError
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.judge_state import CONTROLLER, INJECTOR, JudgeState
from osm_probes.health.lifecycle import Phase
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.result import ProbeResult

WELL = msgspec.structs.replace(
    CONTROLLER,
    told={"mesh": "", "capacity": ""},
    expiries={"ads": datetime.now(UTC) + timedelta(hours=1)},
)


class Clock:
    """Nanoseconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


async def yes() -> None:
    return


async def no() -> None:
    raise UnhealthyError("refused")


DIALS: Mapping[str, Question] = {"ads": yes, "certificate": yes, "bundle": yes, "review": yes}


def evaluator(
    judge_state: JudgeState = WELL,
    *,
    phase: Phase = Phase.SERVING,
    dials: Mapping[str, Question] = DIALS,
    clock: Clock | None = None,
    observe: Callable[[ProbeResult], None] = lambda _: None,
) -> ProbeEvaluator:
    """A bench over a component in this phase that has just beaten; STARTING has never served."""
    clock = clock or Clock()
    heartbeat = Heartbeat.create(clock=clock)
    heartbeat.show(phase, has_served=phase is not Phase.STARTING)
    return ProbeEvaluator(heartbeat, judge_state=judge_state, dials=dials, observe=observe, clock=clock)


def reasons(result: ProbeResult) -> dict[str, str]:
    return {report.name: report.reason for report in result.checks if not report.healthy}


async def test_ready_when_all_checks_say_yes() -> None:
    result = await evaluator().ready()
    assert result.healthy
    assert [report.name for report in result.checks] == ["ads", "mesh", "certificates", "capacity", "draining"]


async def test_the_dial_s_no_is_readiness_s_no_and_never_liveness_s() -> None:
    judged = evaluator(dials={"ads": no})
    assert reasons(await judged.ready()) == {"ads": "refused"}
    assert judged.alive().healthy


async def test_a_program_that_has_not_served_is_not_ready_whoever_answers_on_its_port() -> None:
    result = await evaluator(phase=Phase.STARTING).ready()
    assert reasons(result) == {"ads": "it has not served yet"}


async def test_who_asks_while_the_program_starts_waits_as_its_clients_do() -> None:
    heartbeat = Heartbeat.create()
    heartbeat.show(Phase.STARTING, has_served=False)

    async def accepted_late() -> None:
        await asyncio.sleep(0)
        heartbeat.show(Phase.SERVING, has_served=True)

    assert (await ProbeEvaluator(heartbeat, judge_state=WELL, dials={"ads": accepted_late}).ready()).healthy


async def test_a_program_that_binds_again_is_not_dialled() -> None:
    async def dialled() -> None:
        pytest.fail("dialled")

    result = await evaluator(phase=Phase.RECOVERING, dials={"ads": dialled}).ready()
    assert reasons(result) == {"ads": "it lost its listener and binds again"}


async def test_a_draining_server_is_alive_but_not_ready() -> None:
    judged = evaluator(phase=Phase.DRAINING)
    assert judged.alive().healthy
    assert reasons(await judged.ready()) == {"draining": "it is draining"}


async def test_a_draining_injector_names_its_review() -> None:
    judged = evaluator(INJECTOR, phase=Phase.DRAINING)
    assert judged.alive().checks[0].name == "webhook"
    assert reasons(await judged.ready()) == {"review": "it is draining"}


async def test_a_check_that_was_never_told_is_a_no() -> None:
    judged = evaluator(msgspec.structs.replace(CONTROLLER, canary_limit=0.01))
    assert reasons(await judged.ready()) == {
        "mesh": "nothing known yet",
        "certificates": "no certificate yet",
        "capacity": "nothing known yet",
    }


async def test_a_new_briefing_counts_at_once() -> None:
    judged = evaluator()
    judged.brief(msgspec.structs.replace(WELL, told={"mesh": "", "capacity": "1000 of 1000 proxies"}))
    assert reasons(await judged.ready()) == {"capacity": "1000 of 1000 proxies"}


async def test_a_certificate_that_ended_is_named_with_its_date() -> None:
    ended = {"ads": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), "root": datetime.now(UTC) + timedelta(days=1)}
    judged = evaluator(msgspec.structs.replace(WELL, expiries=ended))
    assert reasons(await judged.ready()) == {"certificates": "the ads certificate expired at 2020-01-02T03:04:05Z"}


async def test_an_excluded_check_is_out_of_the_verdict_and_out_of_the_record() -> None:
    seen: list[ProbeResult] = []
    judged = evaluator(dials={"ads": no}, observe=seen.append)
    assert (await judged.ready(without=["ads"])).healthy
    assert seen == []


async def test_a_stale_beat_is_a_no_of_both() -> None:
    clock = Clock()
    judged = evaluator(clock=clock)
    for _ in range(155):
        clock.sleep(0.1)
        judged.look()
    assert judged.alive().culprit.reason == "no beat for 15.5 s"
    assert reasons(await judged.ready()) == {"ads": "no beat for 15.5 s"}


def test_after_a_sleep_of_the_judge_the_beat_counts_from_its_waking() -> None:
    clock = Clock()
    judged = evaluator(clock=clock)
    clock.sleep(600)
    assert judged.alive().healthy
    for _ in range(155):
        clock.sleep(0.1)
        judged.look()
    assert not judged.alive().healthy


async def test_a_change_of_phase_or_briefing_is_due_to_be_asked() -> None:
    judged = evaluator()
    judged.look()
    await judged.ready()
    assert judged.ready_asked_at > 0
    judged.brief(WELL)
    assert judged.ready_asked_at == 0
    await judged.ready(without=["ads"])
    assert judged.ready_asked_at == 0  # not seen whole


async def test_when_life_ends_or_begins_again_readiness_is_due_to_be_asked() -> None:
    clock = Clock()
    judged = evaluator(clock=clock)
    judged.alive()
    for _ in range(155):
        await judged.ready()
        assert judged.ready_asked_at > 0
        clock.sleep(0.1)
    assert not judged.alive().healthy
    assert judged.ready_asked_at == 0


async def test_a_change_while_readiness_is_asked_is_still_due_after_the_answer() -> None:
    async def slow() -> None:
        judged.brief(WELL)

    judged = evaluator(dials={"ads": slow})
    judged.look()
    assert (await judged.ready()).healthy
    assert judged.ready_asked_at == 0


def test_a_new_judge_of_a_program_that_hangs_does_not_excuse_it() -> None:
    clock = Clock()
    heartbeat = Heartbeat.create(clock=clock)
    heartbeat.show(Phase.SERVING, has_served=True)
    clock.sleep(600)
    assert not ProbeEvaluator(heartbeat, judge_state=WELL, dials=DIALS, clock=clock).alive().healthy


async def test_what_is_told_while_a_dial_lasts_counts_in_its_answer() -> None:
    async def told_meanwhile() -> None:
        await asyncio.sleep(0)
        asked.brief(WELL)

    unread = msgspec.structs.replace(WELL, told={"mesh": "the mesh has not been read yet", "capacity": ""})
    asked = evaluator(unread, dials={"ads": told_meanwhile})
    assert (await asked.ready()).healthy


async def test_a_mesh_that_is_not_there_yet_is_waited_for_as_a_proxy_waits_for_it() -> None:
    unread = msgspec.structs.replace(WELL, told={"mesh": "the mesh has not been read yet", "capacity": ""})
    asked = evaluator(unread)
    asking = asyncio.ensure_future(asked.ready())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    asked.brief(WELL)
    assert (await asking).healthy


async def test_who_is_draining_or_refused_waits_for_no_mesh() -> None:
    unread = msgspec.structs.replace(WELL, told={"mesh": "the mesh has not been read yet", "capacity": ""})
    async with asyncio.timeout(1):
        assert not (await evaluator(unread, phase=Phase.DRAINING).ready()).healthy
        assert not (await evaluator(unread, dials={**DIALS, "ads": no}).ready()).healthy
