"""Evaluation of rows, with artificial timelines: a fault from 10 s to 20 s, a sample every 0.1 s, a probe every 1 s."""

import dataclasses

import pytest

from tests.faults.compare import Alive, Expectation, RowResult, Truth, compare
from tests.faults.timeline import NO_RESPONSE, Probe, Sample, Timeline

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


def with_ready_probe(start: float, end: float, status: int) -> Timeline:
    """A healthy timeline with one additional probe of readiness."""
    healthy = timeline()
    return dataclasses.replace(healthy, probes=(*healthy.probes, Probe("ready", start, end, status)))


def unanswered(name: str, span: Span, *, status: int = NO_RESPONSE, takes: float = 0.01) -> Timeline:
    """A healthy timeline, except that the probes of one endpoint in a span have another status and duration."""
    healthy = timeline()
    damaged = tuple(
        dataclasses.replace(probe, status=status, end=probe.start + takes)
        if probe.name == name and within(probe.start, (span,))
        else probe
        for probe in healthy.probes
    )
    return dataclasses.replace(healthy, probes=damaged)


def failures(result: RowResult) -> str:
    return "; ".join(result.failures)


def test_a_row_without_any_harm_passes() -> None:
    assert compare(timeline(), UNHARMED).failures == ()


def test_a_fault_that_readiness_follows_within_a_second_passes() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10.8, 20.8)), OUTSIDE)

    assert result.failures == ()
    assert result.false_answers == ()
    assert result.detection == pytest.approx(1.51)
    assert result.recovery == pytest.approx(1.51)


def test_a_ready_200_while_no_client_is_served_is_a_false_answer() -> None:
    result = compare(timeline(unserved=(10, 20)), OUTSIDE)

    # The probes at 10.5 s and 19.5 s have a served client within a second.
    assert [false_answer.probe.start for false_answer in result.false_answers] == [
        11.5,
        12.5,
        13.5,
        14.5,
        15.5,
        16.5,
        17.5,
        18.5,
    ]
    assert "FALSE ANSWER: ready 200, sent +1.5 s" in failures(result)


def test_a_failing_ready_while_all_clients_are_served_is_a_false_answer() -> None:
    assert [false_answer.probe.start for false_answer in compare(timeline(ready=(12, 13)), UNHARMED).false_answers] == [
        12.5
    ]


def test_no_response_of_ready_while_all_clients_are_served_is_a_false_answer() -> None:
    assert len(compare(with_ready_probe(12.2, 17.2, NO_RESPONSE), UNHARMED).false_answers) == 1


@pytest.mark.parametrize("name", ["alive", "ready"])
def test_a_killed_judge_may_leave_one_probe_of_each_endpoint_without_a_response(name: str) -> None:
    assert compare(unanswered(name, (12, 13)), REPLACED).failures == ()
    assert failures(compare(unanswered(name, (12, 13)), UNHARMED))


@pytest.mark.parametrize("name", ["alive", "ready"])
def test_the_next_probe_after_a_judge_was_killed_must_be_answered(name: str) -> None:
    assert "+3.5 s" in failures(compare(unanswered(name, (12, 14)), REPLACED))


def test_a_killed_judge_excuses_no_wrong_status_no_timeout_and_no_probe_before_the_fault() -> None:
    assert compare(unanswered("ready", (12, 13), status=503), REPLACED).false_answers
    assert compare(unanswered("ready", (12, 13), takes=5.0), REPLACED).false_answers
    assert compare(unanswered("ready", (8, 9)), REPLACED).false_answers


def test_one_served_client_within_a_second_makes_a_200_acceptable() -> None:
    damaged = timeline(unserved=(10, 20), ready=(10, 14))
    one = Sample(15.0, 15.1, ok=True)
    samples = tuple(sorted((*damaged.samples, one), key=lambda sample: sample.start))

    false_answers = compare(dataclasses.replace(damaged, samples=samples), OUTSIDE).false_answers

    assert [false_answer.probe.start for false_answer in false_answers] == [16.5, 17.5, 18.5]


def test_a_slow_answer_is_compared_with_all_samples_during_its_whole_time() -> None:
    slow = Probe("ready", 9.0, 14.0, 503)
    damaged = timeline(unserved=(10, 20), ready=(10, 20))

    assert compare(dataclasses.replace(damaged, probes=(*damaged.probes, slow)), OUTSIDE).false_answers == ()


def test_a_slow_200_is_acceptable_if_clients_are_served_at_its_end() -> None:
    slow = Probe("ready", 10.5, 15.0, 200)
    damaged = timeline(unserved=(9, 15), ready=(9, 15))

    assert compare(dataclasses.replace(damaged, probes=(*damaged.probes, slow)), OUTSIDE).false_answers == ()


def test_a_draining_program_may_return_a_false_503_but_not_a_false_200() -> None:
    drained = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30)), ended=16.0, exit_status=0)
    boasting = dataclasses.replace(timeline(unserved=(12, 30), ready=(10, 13)), ended=29.0, exit_status=0)

    assert compare(drained, STOP).failures == ()
    assert compare(boasting, STOP).false_answers != ()
    assert compare(drained, dataclasses.replace(STOP, drains=False)).false_answers != ()


def test_every_probe_name_except_alive_is_readiness() -> None:
    healthy = timeline()
    more = dataclasses.replace(healthy, probes=(*healthy.probes, *probes("9091", (12, 13))))

    assert [false_answer.probe.name for false_answer in compare(more, UNHARMED).false_answers] == ["9091"]


def test_a_probe_before_the_first_sample_is_not_evaluated() -> None:
    early = timeline(ready=(0, 6))
    late = dataclasses.replace(early, samples=tuple(sample for sample in early.samples if sample.start > 6))

    assert compare(late, UNHARMED).false_answers == ()


def test_a_gap_in_the_samples_fails_the_row() -> None:
    healthy = timeline()
    holed = tuple(sample for sample in healthy.samples if not 11 < sample.start < 16)

    assert "no sample around them" in failures(compare(dataclasses.replace(healthy, samples=holed), UNHARMED))


def test_a_row_without_measurements_fails() -> None:
    assert "nothing was measured" in failures(compare(Timeline((), (), INJECTED, HEALED), UNHARMED))


def test_a_row_that_expects_harm_fails_without_harm() -> None:
    assert "did no harm" in failures(compare(timeline(), OUTSIDE))


def test_a_row_that_expects_no_harm_fails_if_clients_are_not_served() -> None:
    assert "were not served" in failures(compare(timeline(unserved=(12, 15), ready=(12, 15)), UNHARMED))


def test_a_single_failed_sample_does_not_count_as_harm() -> None:
    assert compare(timeline(unserved=(12, 12.1)), UNHARMED).failures == ()


def test_liveness_must_not_fail_for_an_external_cause() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10, 20), alive=(12, 13)), OUTSIDE)

    assert failures(result) == "alive fell at +2.5 s: 503"


def test_liveness_must_fail_within_the_limit_of_a_hang() -> None:
    in_time = timeline(unserved=(10, 20), ready=(10, 20), alive=(14, 20))
    too_late = timeline(unserved=(10, 20), ready=(10, 20), alive=(16, 20))

    assert compare(in_time, HANG).failures == ()
    assert failures(compare(too_late, HANG)) == "alive did not fall within 5 s"


def test_liveness_must_recover_after_a_hang() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10, 20), alive=(14, 23)), HANG)

    assert "alive fell outside the fault" in failures(result)


def test_liveness_must_not_fail_before_a_hang() -> None:
    result = compare(timeline(unserved=(10, 20), ready=(10, 20), alive=(9, 20)), HANG)

    assert "alive fell outside the fault" in failures(result)


def test_no_response_before_the_first_200_is_not_a_fall_of_liveness() -> None:
    unborn = (*probes("alive", (0, 21), status=NO_RESPONSE), *probes("ready", (0, 21)))
    late = Timeline(truth((0, 20)), unborn, INJECTED, HEALED)

    assert compare(late, OUTSIDE).failures == ()


def test_a_liveness_response_before_the_program_served_fails_the_row() -> None:
    silent = dataclasses.replace(OUTSIDE, alive=Alive.SILENT)
    spoke = (*probes("alive", (0, 21), status=503), *probes("ready", (0, 21)))

    result = compare(Timeline(truth((0, 20)), spoke, INJECTED, HEALED), silent)

    assert failures(result) == "alive returned 503 before the program served"


def test_a_liveness_that_never_returns_200_fails_the_row() -> None:
    assert "alive never returned 200" in failures(compare(timeline(alive=(0, 30)), UNHARMED))


def test_a_missing_recovery_fails_the_row() -> None:
    assert "no recovery" in failures(compare(timeline(unserved=(10, 30), ready=(10, 30)), OUTSIDE))


def test_a_late_recovery_fails_the_row() -> None:
    quick = dataclasses.replace(OUTSIDE, recovers_within=2.0)

    assert "recovery took" in failures(compare(timeline(unserved=(10, 24), ready=(10, 24)), quick))


def test_a_fault_that_cannot_be_undone_needs_no_recovery() -> None:
    final = dataclasses.replace(OUTSIDE, recovers_within=None)

    assert compare(timeline(unserved=(10, 30), ready=(10, 30)), final).failures == ()


def test_an_unexpected_exit_fails_the_row() -> None:
    gone = dataclasses.replace(timeline(), ended=29.9, exit_status=139)

    assert "exited with status 139" in failures(compare(gone, UNHARMED))


def test_a_wrong_exit_status_fails_the_row() -> None:
    stopped = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30)), ended=16.0)

    assert compare(dataclasses.replace(stopped, exit_status=0), STOP).failures == ()
    assert "status 1, expected 0" in failures(compare(dataclasses.replace(stopped, exit_status=1), STOP))


def test_liveness_may_have_no_response_in_the_last_moment_before_the_exit_only() -> None:
    silent = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30), alive=(15, 30)), ended=16.0, exit_status=0)
    early = dataclasses.replace(timeline(unserved=(15, 30), ready=(10, 30), alive=(12, 30)), ended=16.0, exit_status=0)

    assert compare(silent, STOP).failures == ()
    assert "alive fell at +2.5 s" in failures(compare(early, STOP))


def test_a_program_that_must_exit_and_does_not_fails_the_row() -> None:
    assert "did not exit" in failures(compare(timeline(), STOP))


def test_a_problem_that_the_fault_itself_found_fails_the_row() -> None:
    grown = dataclasses.replace(timeline(), problems=("it grew",))

    assert failures(compare(grown, UNHARMED)) == "it grew"
