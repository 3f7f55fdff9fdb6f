"""Timeline and expectation -> a row's result. Pure: no clock, no socket."""

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.timeline import NO_RESPONSE, Probe, Sample, Timeline

MARGIN = 1.0
"""How much longer than the probe itself its comparison window is, on each side, in seconds."""
_LAST_MOMENT = 1.5  # the judge exits before its program: probes in this time belong to the exit
_INTERRUPTED_WITHIN = 3.0  # a stopped judge is killed after 2 s; without a replacement probes would time out after 5 s


class Truth(enum.Enum):
    """What a real client must experience during the fault; otherwise the fault was not the intended one."""

    HOLDS = "holds"
    FAILS = "fails"
    EITHER = "either"


class Alive(enum.Enum):
    """What liveness must return."""

    STAYS = "stays"
    """200 from the first 200 on: a short stall, an external cause, or no harm."""
    FALLS = "falls"
    """Not 200 within a limit after a real death or hang, and 200 again afterwards."""
    SILENT = "silent"
    """No response during the fault, because the program has not served yet."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must hold in a row. Durations in seconds.

    falls_within: for FALLS, the limit from the start of the fault. recovers_within: the limit from the end of the
    fault; None if the fault cannot be undone. ends: the exit status of a program that must exit. drains: only a false
    200 counts as a false answer. judge_dies: one probe of each endpoint may get no response, because the connections
    of a killed judge end with it. alive_within: how long an answer of liveness may take.
    """

    truth: Truth
    alive: Alive
    falls_within: float = 0.0
    recovers_within: float | None = 15.0
    ends: int | None = None
    drains: bool = False
    judge_dies: bool = False
    alive_within: float | None = None


@dataclass(frozen=True, slots=True)
class FalseAnswer:
    """A probe's answer that contradicts every real client around it."""

    probe: Probe
    sample: Sample


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of a row, with texts for the table and times in seconds. It passed if there are no failures."""

    truth: str
    alive: str
    ready: str
    detection: float | None
    recovery: float | None
    false_answers: tuple[FalseAnswer, ...]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the row passed."""
        return not self.failures


def compare(timeline: Timeline, expectation: Expectation) -> RowResult:
    """Evaluate a row."""
    answered = _without_interrupted_probes(timeline) if expectation.judge_dies else timeline
    false_answers = tuple(find_false_answers(answered, drains=expectation.drains))
    recovery = _recovery(timeline)
    failures = (
        *timeline.problems,
        *(_describe_false_answer(false_answer, timeline) for false_answer in false_answers[:3]),
        *([f"{len(false_answers) - 3} more false answers"] if len(false_answers) > 3 else []),
        *_check_coverage(timeline),
        *_check_truth(timeline, expectation.truth),
        *_check_liveness(answered, expectation),
        *_check_exit(timeline, expectation),
        *_check_times(answered, expectation),
        *_check_recovery(recovery, expectation),
    )
    return RowResult(
        truth=_summarize_truth(timeline),
        alive=_summarize_answers(timeline, timeline.probes_of(alive=True)),
        ready=_summarize_answers(timeline, timeline.probes_of(alive=False)),
        detection=_detection(timeline),
        recovery=recovery if expectation.recovers_within is not None and expectation.ends is None else None,
        false_answers=false_answers,
        failures=failures,
    )


def find_false_answers(timeline: Timeline, *, drains: bool) -> Iterator[FalseAnswer]:
    """Readiness answers that differ from every sample around them; for a draining program, only false 200s."""
    for probe in _comparable_probes(timeline):
        samples = _samples_around(probe, timeline.samples)
        if samples and all(sample.ok != probe.ok for sample in samples) and (probe.ok or not drains):
            yield FalseAnswer(probe, samples[-1])


def _without_interrupted_probes(timeline: Timeline) -> Timeline:
    """The timeline without the first interrupted probe of each endpoint during the fault; the next probe counts."""
    unanswered = [probe for probe in timeline.probes if probe.status == NO_RESPONSE and timeline.during(probe)]
    first = {probe.name: probe for probe in reversed(unanswered)}.values()
    interrupted = [probe for probe in first if probe.end - probe.start < _INTERRUPTED_WITHIN]
    return dataclasses.replace(timeline, probes=tuple(probe for probe in timeline.probes if probe not in interrupted))


def _comparable_probes(timeline: Timeline) -> Iterator[Probe]:
    """The readiness probes whose comparison window lies completely within the time of the samples."""
    first = min((sample.start for sample in timeline.samples), default=0.0) + MARGIN
    last = max((sample.end for sample in timeline.samples), default=0.0) - MARGIN
    return (probe for probe in timeline.probes_of(alive=False) if first <= probe.start and probe.end <= last)


def _samples_around(probe: Probe, samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.start <= probe.end + MARGIN and sample.end >= probe.start - MARGIN]


def _check_coverage(timeline: Timeline) -> Iterator[str]:
    """A readiness probe without a sample around it is an error of the matrix itself."""
    samples = timeline.samples
    if not samples or not timeline.probes:
        yield "nothing was measured"
        return
    if blind := [probe for probe in _comparable_probes(timeline) if not _samples_around(probe, samples)]:
        yield f"{len(blind)} probes have no sample around them"


def _check_truth(timeline: Timeline, truth: Truth) -> Iterator[str]:
    served = Counter(sample.ok for sample in timeline.samples if timeline.during(sample))
    if truth is Truth.FAILS and not served[False]:
        yield "the fault did no harm: real clients were served all the time"
    if truth is Truth.HOLDS and served[False] > served[True] * 0.05:
        yield f"real clients were not served in {served[False]} of {served.total()} tries"


def _check_liveness(timeline: Timeline, expectation: Expectation) -> Iterator[str]:
    probes = _before_end(timeline)
    if expectation.alive is Alive.SILENT:
        early = [probe for probe in probes if probe.end < timeline.healed and probe.status != NO_RESPONSE]
        yield from (f"alive returned {probe.status} before the program served" for probe in early[:1])
        return
    first = next((index for index, probe in enumerate(probes) if probe.ok), None)
    if first is None:
        yield "alive never returned 200"
        return
    falls = [probe for probe in probes[first:] if not probe.ok]
    if expectation.alive is Alive.STAYS:
        yield from (_describe_fall("alive fell", probe, timeline) for probe in falls[:1])
        return
    # A probe that was sent at the end of the fault may be answered after it.
    yield from (
        _describe_fall("alive fell outside the fault", probe, timeline)
        for probe in falls
        if probe.end < timeline.injected
        or (expectation.recovers_within is not None and probe.start > timeline.healed + MARGIN)
    )
    if not any(probe.end <= timeline.injected + expectation.falls_within for probe in falls):
        yield f"alive did not fall within {expectation.falls_within:g} s"


def _before_end(timeline: Timeline) -> list[Probe]:
    limit = float("inf") if timeline.ended is None else timeline.ended - _LAST_MOMENT
    return [probe for probe in timeline.probes_of(alive=True) if probe.end <= limit]


def _check_exit(timeline: Timeline, expectation: Expectation) -> Iterator[str]:
    if expectation.ends is None and timeline.ended is not None:
        yield f"the program exited with status {timeline.exit_status}"
    if expectation.ends is not None and timeline.ended is None:
        yield "the program did not exit"
    if expectation.ends is not None and timeline.exit_status not in (None, expectation.ends):
        yield f"the program exited with status {timeline.exit_status}, expected {expectation.ends}"


def _check_times(timeline: Timeline, expectation: Expectation) -> Iterator[str]:
    limit = expectation.alive_within
    if limit is None:
        return
    times = [probe.end - probe.start for probe in timeline.probes_of(alive=True) if timeline.during(probe)]
    if late := [seconds for seconds in times if seconds > limit]:
        yield f"{len(late)} of {len(times)} answers took more than {limit:g} s, the longest {max(late):.1f} s"


def _check_recovery(recovery: float | None, expectation: Expectation) -> Iterator[str]:
    limit = expectation.recovers_within
    if limit is None or expectation.ends is not None:
        return
    if recovery is None:
        yield "no recovery: at the end, clients were not served or a probe failed"
    elif recovery > limit:
        yield f"recovery took {recovery:.1f} s, more than {limit:g} s"


def _recovery(timeline: Timeline) -> float | None:
    """Seconds from the end of the fault until all probes return 200 for good; None if one does not."""
    last = [_time_of_lasting_success(timeline.probes_of(alive=alive)) for alive in (True, False)]
    if any(moment is None for moment in last) or not any(sample.ok for sample in timeline.samples[-10:]):
        return None
    return max(0.0, *(moment - timeline.healed for moment in last if moment is not None))


def _time_of_lasting_success(probes: Sequence[Probe]) -> float | None:
    """The time from which all series of probes succeed until their end; None if the last probe of one fails."""
    moments = []
    for name in {probe.name for probe in probes}:
        series = [probe for probe in probes if probe.name == name]
        last_failure = max((index for index, probe in enumerate(series) if not probe.ok), default=-1)
        if last_failure == len(series) - 1:
            return None
        moments.append(series[last_failure + 1].end if last_failure >= 0 else float("-inf"))
    return max(moments, default=None)


def _detection(timeline: Timeline) -> float | None:
    """Seconds from the first real client that was not served to the first failing ready."""
    fails = [sample.start for sample in timeline.samples if timeline.during(sample) and not sample.ok]
    failed = [probe.end for probe in timeline.probes_of(alive=False) if probe.end >= timeline.injected and not probe.ok]
    return max(0.0, failed[0] - fails[0]) if fails and failed else None


def _summarize_truth(timeline: Timeline) -> str:
    during = [sample for sample in timeline.samples if timeline.during(sample)]
    unserved = [sample for sample in during if not sample.ok]
    if not unserved:
        return "yes"
    reason = Counter(sample.reason for sample in unserved).most_common(1)[0][0]
    share = len(unserved) / len(during)
    return f"no: {reason}" if share > 0.5 else f"{share:.0%} of the time no: {reason}"


def _summarize_answers(timeline: Timeline, probes: Sequence[Probe]) -> str:
    """The answers during the fault in the order of their first occurrence, with the time of the first failures."""
    texts: dict[str, str] = {}
    for probe in probes:
        if timeline.injected <= probe.start <= timeline.healed:
            answer = str(probe.status) if probe.status else "none"
            after = max(0.0, probe.end - timeline.injected)
            texts.setdefault(answer, answer if probe.ok or not texts else f"{answer} after {after:.1f} s")
    return ", ".join(texts.values())


def _describe_fall(what: str, probe: Probe, timeline: Timeline) -> str:
    return f"{what} at {probe.end - timeline.injected:+.1f} s: {probe.status or 'no response'} {probe.reason}".rstrip()


def _describe_false_answer(false_answer: FalseAnswer, timeline: Timeline) -> str:
    probe, sample = false_answer.probe, false_answer.sample
    sent, answered = (moment - timeline.injected for moment in (probe.start, probe.end))
    answer = f"{probe.name} {probe.status or 'no response'}{f' ({probe.reason})' if probe.reason else ''}"
    return f"FALSE ANSWER: {answer}, sent {sent:+.1f} s, answered {answered:+.1f} s; truth: {sample.reason or 'served'}"
