"""The judging of rows, by hand-made timelines: a fault from 10 s to 20 s, a try each 0.1 s, a probe a second."""

import dataclasses

import pytest

from tests.faults.compare import Alive, Expectation, RowResult, Truth, compare
from tests.faults.timeline import NOBODY, Probe, Sample, Timeline

INJECTED, HEALED, END = 10.0, 20.0, 30.0
UNHARMED = Expectation(Truth.HOLDS, Alive.STAYS)
OUTSIDE = Expectation(Truth.FAILS, Alive.STAYS)
REPLACED = dataclasses.replace(UNHARMED, judge_dies=True)
HANG = Expectation(Truth.FAILS, Alive.FALLS, falls_within=5.0)
STOP = Expectation(Truth.EITHER, Alive.STAYS, ends=0, drains=True)

Span = tuple[float, float]


def within(moment: float, spans: tuple[Span, ...]) -> bool:
    return any(start <= moment < end for start, end in spans)


def truth(*unserved: Span) -> tuple[Sample, ...]:
    moments = [tenth / 10 for tenth in range(int(END * 10))]
    return tuple(
        Sample(at, at + 0.05, ok=not within(at, unserved), reason="refused" * within(at, unserved)) for at in moments
    )


def probes(name: str, *noes: Span, status: int = 503) -> tuple[Probe, ...]:
    moments = [second + 0.5 for second in range(int(END))]
    return tuple(Probe(name, at, at + 0.01, status if within(at, noes) else 200) for at in moments)


def timeline(*, unserved: Span = (0, 0), alive: Span = (0, 0), ready: Span = (0, 0)) -> Timeline:
    return Timeline(truth(unserved), (*probes("alive", alive), *probes("ready", ready)), INJECTED, HEALED)


def asked(start: float, end: float, status: int) -> Timeline:
    """All well, but for one probe of readiness."""
    calm = timeline()
    return dataclasses.replace(calm, probes=(*calm.probes, Probe("ready", start, end, status)))


def unanswered(name: str, span: Span, *, status: int = NOBODY, takes: float = 0.01) -> Timeline:
    """All well, but for the probes of one endpoint in a span, which take so many seconds."""
    calm = timeline()
    hurt = tuple(
        dataclasses.replace(each, status=status, end=each.start + takes)
        if each.name == name and within(each.start, (span,))
        else each
        for each in calm.probes
    )
    return dataclasses.replace(calm, probes=hurt)


def failures(result: RowResult) -> str:
    return "; ".join(result.failures)


def test_a_calm_row_passes() -> None:
    assert compare(timeline(), UNHARMED).failures == ()


def test_a_fault_that_ready_follows_within_a_second_passes() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10.8, 20.8)), OUTSIDE)

    assert result.failures == ()
    assert result.lies == ()
    assert result.detection == pytest.approx(1.51)
    assert result.recovery == pytest.approx(1.51)


def test_a_ready_that_says_200_while_nobody_is_served_lies() -> None:
    result = compare(timeline(unserved=(10, 20)), OUTSIDE)

    # Those at 10.5 and 19.5 have a served client within a second.
    assert [lie.probe.start for lie in result.lies] == [11.5, 12.5, 13.5, 14.5, 15.5, 16.5, 17.5, 18.5]
    assert "LIE: ready said 200, asked +1.5 s" in failures(result)


def test_a_ready_that_says_no_while_all_are_served_lies() -> None:
    assert [lie.probe.start for lie in compare(timeline(ready=(12, 13)), UNHARMED).lies] == [12.5]


def test_silence_of_ready_while_all_are_served_is_a_lie() -> None:
    assert len(compare(asked(12.2, 17.2, NOBODY), UNHARMED).lies) == 1


@pytest.mark.parametrize("name", ["alive", "ready"])
def test_a_killed_judge_may_leave_one_probe_of_an_endpoint_without_a_response(name: str) -> None:
    assert compare(unanswered(name, (12, 13)), REPLACED).failures == ()
    assert failures(compare(unanswered(name, (12, 13)), UNHARMED))


@pytest.mark.parametrize("name", ["alive", "ready"])
def test_a_judge_that_is_killed_must_answer_the_next_probe(name: str) -> None:
    assert "+3.5 s" in failures(compare(unanswered(name, (12, 14)), REPLACED))


def test_a_killed_judge_excuses_no_wrong_answer_no_timeout_and_nothing_before_the_fault() -> None:
    assert compare(unanswered("ready", (12, 13), status=503), REPLACED).lies
    assert compare(unanswered("ready", (12, 13), takes=5.0), REPLACED).lies
    assert compare(unanswered("ready", (8, 9)), REPLACED).lies


def test_one_served_client_within_a_second_excuses_a_200() -> None:
    hurt = timeline(unserved=(10, 20), ready=(10, 14))
    one = Sample(15.0, 15.1, ok=True)
    samples = tuple(sorted((*hurt.samples, one), key=lambda sample: sample.start))

    lies = compare(dataclasses.replace(hurt, samples=samples), OUTSIDE).lies

    assert [lie.probe.start for lie in lies] == [16.5, 17.5, 18.5]


def test_a_slow_answer_is_judged_over_its_whole_time() -> None:
    slow = Probe("ready", 9.0, 14.0, 503)
    hurt = timeline(unserved=(10, 20), ready=(10, 20))

    assert compare(dataclasses.replace(hurt, probes=(*hurt.probes, slow)), OUTSIDE).lies == ()


def test_a_slow_200_may_have_become_true_at_its_end() -> None:
    slow = Probe("ready", 10.5, 15.0, 200)
    hurt = timeline(unserved=(9, 15), ready=(9, 15))

    assert compare(dataclasses.replace(hurt, probes=(*hurt.probes, slow)), OUTSIDE).lies == ()


def test_a_draining_program_may_say_no_but_not_a_false_yes() -> None:
    drained = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30)), ended=16.0, exit_status=0)
    boasting = dataclasses.replace(timeline(unserved=(12, 30), ready=(10, 13)), ended=29.0, exit_status=0)

    assert compare(drained, STOP).failures == ()
    assert compare(boasting, STOP).lies != ()
    assert compare(drained, dataclasses.replace(STOP, drains=False)).lies != ()


def test_every_name_but_alive_is_a_readiness() -> None:
    calm = timeline()
    more = dataclasses.replace(calm, probes=(*calm.probes, *probes("9091", (12, 13))))

    assert [lie.probe.name for lie in compare(more, UNHARMED).lies] == ["9091"]


def test_a_probe_before_truth_was_asked_is_not_judged() -> None:
    early = timeline(ready=(0, 6))
    late = dataclasses.replace(early, samples=tuple(sample for sample in early.samples if sample.start > 6))

    assert compare(late, UNHARMED).lies == ()


def test_a_hole_in_the_truth_fails_the_row() -> None:
    calm = timeline()
    holed = tuple(sample for sample in calm.samples if not 11 < sample.start < 16)

    assert "no truth around them" in failures(compare(dataclasses.replace(calm, samples=holed), UNHARMED))


def test_nothing_measured_fails_the_row() -> None:
    assert "nothing was measured" in failures(compare(Timeline((), (), INJECTED, HEALED), UNHARMED))


def test_a_fault_without_harm_fails_a_row_that_wants_harm() -> None:
    assert "did no harm" in failures(compare(timeline(), OUTSIDE))


def test_harm_fails_a_row_that_wants_none() -> None:
    assert "were not served" in failures(compare(timeline(unserved=(12, 15), ready=(12, 15)), UNHARMED))


def test_a_single_failed_try_is_no_harm() -> None:
    assert compare(timeline(unserved=(12, 12.1)), UNHARMED).failures == ()


def test_alive_may_not_fall_for_an_outside_cause() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10, 20), alive=(12, 13)), OUTSIDE)

    assert failures(result) == "alive fell at +2.5 s: 503"


def test_alive_must_fall_within_the_limit_of_a_hang() -> None:
    in_time = timeline(unserved=(10, 20), ready=(10, 20), alive=(14, 20))
    too_late = timeline(unserved=(10, 20), ready=(10, 20), alive=(16, 20))

    assert compare(in_time, HANG).failures == ()
    assert failures(compare(too_late, HANG)) == "alive did not fall within 5 s"


def test_alive_may_not_stay_down_after_a_hang() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10, 20), alive=(14, 23)), HANG)

    assert "alive fell outside of the fault" in failures(result)


def test_alive_may_not_have_fallen_before_a_hang() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10, 20), alive=(9, 20)), HANG)

    assert "alive fell outside of the fault" in failures(result)


def test_silence_before_the_first_200_is_no_fall_of_alive() -> None:
    unborn = (*probes("alive", (0, 21), status=NOBODY), *probes("ready", (0, 21)))
    late = Timeline(truth((0, 20)), unborn, INJECTED, HEALED)

    assert compare(late, OUTSIDE).failures == ()


def test_an_alive_that_answers_before_anything_was_served_fails() -> None:
    silent = dataclasses.replace(OUTSIDE, alive=Alive.SILENT)
    spoke = (*probes("alive", (0, 21), status=503), *probes("ready", (0, 21)))

    result = compare(Timeline(truth((0, 20)), spoke, INJECTED, HEALED), silent)

    assert failures(result) == "alive said 503 before anything was served"


def test_an_alive_that_never_said_200_fails() -> None:
    assert "alive never said 200" in failures(compare(timeline(alive=(0, 30)), UNHARMED))


def test_no_recovery_fails_the_row() -> None:
    assert "no recovery" in failures(compare(timeline(unserved=(10, 30), ready=(10, 30)), OUTSIDE))


def test_a_late_recovery_fails_the_row() -> None:
    quick = dataclasses.replace(OUTSIDE, recovers_within=2.0)

    assert "recovery took" in failures(compare(timeline(unserved=(10, 24), ready=(10, 24)), quick))


def test_a_fault_that_cannot_be_undone_needs_no_recovery() -> None:
    final = dataclasses.replace(OUTSIDE, recovers_within=None)

    assert compare(timeline(unserved=(10, 30), ready=(10, 30)), final).failures == ()


def test_an_end_that_nobody_asked_for_fails_the_row() -> None:
    gone = dataclasses.replace(timeline(), ended=29.9, exit_status=139)

    assert "ended with status 139" in failures(compare(gone, UNHARMED))


def test_a_wrong_exit_status_fails_the_row() -> None:
    stopped = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30)), ended=16.0)

    assert compare(dataclasses.replace(stopped, exit_status=0), STOP).failures == ()
    assert "status 1 and not 0" in failures(compare(dataclasses.replace(stopped, exit_status=1), STOP))


def test_alive_may_be_silent_in_the_last_moment_and_not_before() -> None:
    silent = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30), alive=(15, 30)), ended=16.0, exit_status=0)
    early = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30), alive=(12, 30)), ended=16.0, exit_status=0)

    assert compare(silent, STOP).failures == ()
    assert "alive fell at +2.5 s" in failures(compare(early, STOP))


def test_a_program_that_must_end_and_does_not_fails_the_row() -> None:
    assert "did not end" in failures(compare(timeline(), STOP))


def test_what_a_fault_found_itself_fails_the_row() -> None:
    grown = dataclasses.replace(timeline(), broken=("it grew",))

    assert failures(compare(grown, UNHARMED)) == "it grew"
