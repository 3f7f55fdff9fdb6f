"""Timeline + what must hold -> a row's result. Pure: no clock, no socket."""

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.timeline import NOBODY, Probe, Sample, Timeline

MARGIN = 1.0
"""How far a probe's window is widened on each side."""
_LAST_MOMENT = 1.5  # the judge ends before the program does: what is asked then belongs to the end
_CUT_WITHIN = 3.0  # a stopped judge is killed after 2 s; one that is not replaced lets probes wait for their 5 s


class Truth(enum.Enum):
    """What a real client must find while the fault lasts; else the fault was none, or was another one."""

    HOLDS = "holds"
    FAILS = "fails"
    EITHER = "either"


class Alive(enum.Enum):
    """What liveness must say."""

    STAYS = "stays"
    """200 from the first 200 on: a short stall, an outside cause, or no harm at all."""
    FALLS = "falls"
    """Not 200 within the limit of a real death or hang, and 200 again after it."""
    SILENT = "silent"
    """No response while the fault lasts: nothing has been served yet."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must hold in a row. Durations in seconds.

    falls_within: for FALLS, from the fault on. recovers_within: from the heal on; None = it cannot, by the fault's
    nature. ends: the exit status of a program that must end. drains: judged for false 200s only. judge_dies: the
    connections that a killed judge has accepted end with it; of each endpoint one probe may get no response.
    """

    truth: Truth
    alive: Alive
    falls_within: float = 0.0
    recovers_within: float | None = 15.0
    ends: int | None = None
    drains: bool = False
    judge_dies: bool = False


@dataclass(frozen=True, slots=True)
class Lie:
    """A probe that every real client around it contradicts."""

    probe: Probe
    sample: Sample


@dataclass(frozen=True, slots=True)
class RowResult:
    """What came of a row. Words for the table; times in seconds; no failures = it passed."""

    truth: str
    alive: str
    ready: str
    detection: float | None
    recovery: float | None
    lies: tuple[Lie, ...]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all held."""
        return not self.failures


def compare(timeline: Timeline, expectation: Expectation) -> RowResult:
    """Judge a row."""
    answered = _without_cut(timeline) if expectation.judge_dies else timeline
    lies = tuple(lies_of(answered, drains=expectation.drains))
    recovery = _recovery(timeline)
    failures = (
        *timeline.broken,
        *(_lie_words(lie, timeline) for lie in lies[:3]),
        *([f"{len(lies) - 3} more lies"] if len(lies) > 3 else []),
        *_blind(timeline),
        *_wrong_truth(timeline, expectation.truth),
        *_wrong_life(answered, expectation),
        *_wrong_end(timeline, expectation),
        *_no_recovery(recovery, expectation),
    )
    return RowResult(
        truth=_truth_words(timeline),
        alive=_probe_words(timeline, timeline.probes_of(alive=True)),
        ready=_probe_words(timeline, timeline.probes_of(alive=False)),
        detection=_detection(timeline),
        recovery=recovery if expectation.recovers_within is not None and expectation.ends is None else None,
        lies=lies,
        failures=failures,
    )


def lies_of(timeline: Timeline, *, drains: bool) -> Iterator[Lie]:
    """Readiness that differs from every sample around it; a false no of a draining program is none."""
    for probe in _judged(timeline):
        seen = _around(probe, timeline.samples)
        if seen and all(sample.ok != probe.ok for sample in seen) and (probe.ok or not drains):
            yield Lie(probe, seen[-1])


def _without_cut(timeline: Timeline) -> Timeline:
    """All but the first probe of each endpoint that was cut during the fault; the next one, 1 s later, counts."""
    unanswered = [each for each in timeline.probes if each.status == NOBODY and timeline.during(each)]
    first = {each.name: each for each in reversed(unanswered)}.values()
    cut = [each for each in first if each.end - each.start < _CUT_WITHIN]
    return dataclasses.replace(timeline, probes=tuple(each for each in timeline.probes if each not in cut))


def _judged(timeline: Timeline) -> Iterator[Probe]:
    """The probes of readiness whose whole window lies in the time in which truth was asked."""
    first = min((sample.start for sample in timeline.samples), default=0.0) + MARGIN
    last = max((sample.end for sample in timeline.samples), default=0.0) - MARGIN
    return (probe for probe in timeline.probes_of(alive=False) if first <= probe.start and probe.end <= last)


def _around(probe: Probe, samples: Sequence[Sample]) -> list[Sample]:
    return [each for each in samples if each.start <= probe.end + MARGIN and each.end >= probe.start - MARGIN]


def _blind(timeline: Timeline) -> Iterator[str]:
    """A probe without truth around it, while truth was asked, is a fault of the matrix itself."""
    samples = timeline.samples
    if not samples or not timeline.probes:
        yield "nothing was measured"
        return
    if blind := [probe for probe in _judged(timeline) if not _around(probe, samples)]:
        yield f"{len(blind)} probes have no truth around them"


def _wrong_truth(timeline: Timeline, truth: Truth) -> Iterator[str]:
    found = Counter(sample.ok for sample in timeline.samples if timeline.during(sample))
    if truth is Truth.FAILS and not found[False]:
        yield "the fault did no harm: real clients were served all the time"
    if truth is Truth.HOLDS and found[False] > found[True] * 0.05:
        yield f"real clients were not served in {found[False]} of {found.total()} tries"


def _wrong_life(timeline: Timeline, expectation: Expectation) -> Iterator[str]:
    probes = _before_end(timeline)
    if expectation.alive is Alive.SILENT:
        early = [probe for probe in probes if probe.end < timeline.healed and probe.status != NOBODY]
        yield from (f"alive said {probe.status} before anything was served" for probe in early[:1])
        return
    first = next((index for index, probe in enumerate(probes) if probe.ok), None)
    if first is None:
        yield "alive never said 200"
        return
    falls = [probe for probe in probes[first:] if not probe.ok]
    if expectation.alive is Alive.STAYS:
        yield from (_fall_words("alive fell", probe, timeline) for probe in falls[:1])
        return
    # A fall in the last moment of the fault is answered after it.
    yield from (
        _fall_words("alive fell outside of the fault", probe, timeline)
        for probe in falls
        if probe.end < timeline.injected
        or (expectation.recovers_within is not None and probe.start > timeline.healed + MARGIN)
    )
    if not any(probe.end <= timeline.injected + expectation.falls_within for probe in falls):
        yield f"alive did not fall within {expectation.falls_within:g} s"


def _before_end(timeline: Timeline) -> list[Probe]:
    limit = float("inf") if timeline.ended is None else timeline.ended - _LAST_MOMENT
    return [probe for probe in timeline.probes_of(alive=True) if probe.end <= limit]


def _wrong_end(timeline: Timeline, expectation: Expectation) -> Iterator[str]:
    if expectation.ends is None and timeline.ended is not None:
        yield f"the program ended with status {timeline.exit_status}"
    if expectation.ends is not None and timeline.ended is None:
        yield "the program did not end"
    if expectation.ends is not None and timeline.exit_status not in (None, expectation.ends):
        yield f"the program ended with status {timeline.exit_status} and not {expectation.ends}"


def _no_recovery(recovery: float | None, expectation: Expectation) -> Iterator[str]:
    limit = expectation.recovers_within
    if limit is None or expectation.ends is not None:
        return
    if recovery is None:
        yield "no recovery: not all of truth, alive and ready were yes at the end"
    elif recovery > limit:
        yield f"recovery took {recovery:.1f} s and not {limit:g} s at most"


def _recovery(timeline: Timeline) -> float | None:
    """From the heal to the first 200 after the last no of any probe; None if the last word of one was no."""
    last = [_last_yes_since(timeline.probes_of(alive=alive)) for alive in (True, False)]
    if any(moment is None for moment in last) or not any(sample.ok for sample in timeline.samples[-10:]):
        return None
    return max(0.0, *(moment - timeline.healed for moment in last if moment is not None))


def _last_yes_since(probes: Sequence[Probe]) -> float | None:
    """When each series of probes began to say yes to its end."""
    moments = []
    for name in {probe.name for probe in probes}:
        series = [probe for probe in probes if probe.name == name]
        last_no = max((index for index, probe in enumerate(series) if not probe.ok), default=-1)
        if last_no == len(series) - 1:
            return None
        moments.append(series[last_no + 1].end if last_no >= 0 else float("-inf"))
    return max(moments, default=None)


def _detection(timeline: Timeline) -> float | None:
    """From the first real client that was not served to the first ready that said so."""
    fails = [sample.start for sample in timeline.samples if timeline.during(sample) and not sample.ok]
    noes = [probe.end for probe in timeline.probes_of(alive=False) if probe.end >= timeline.injected and not probe.ok]
    return max(0.0, noes[0] - fails[0]) if fails and noes else None


def _truth_words(timeline: Timeline) -> str:
    during = [sample for sample in timeline.samples if timeline.during(sample)]
    noes = [sample for sample in during if not sample.ok]
    if not noes:
        return "yes"
    reason = Counter(sample.reason for sample in noes).most_common(1)[0][0]
    share = len(noes) / len(during)
    return f"no: {reason}" if share > 0.5 else f"{share:.0%} of the time no: {reason}"


def _probe_words(timeline: Timeline, probes: Sequence[Probe]) -> str:
    """The answers of the fault's time in the order in which they first came, and when a no came first."""
    words: dict[str, str] = {}
    for probe in probes:
        if timeline.injected <= probe.start <= timeline.healed:
            said = str(probe.status) if probe.status else "none"
            after = max(0.0, probe.end - timeline.injected)
            words.setdefault(said, said if probe.ok or not words else f"{said} after {after:.1f} s")
    return ", ".join(words.values())


def _fall_words(what: str, probe: Probe, timeline: Timeline) -> str:
    return f"{what} at {probe.end - timeline.injected:+.1f} s: {probe.status or 'no response'} {probe.reason}".rstrip()


def _lie_words(lie: Lie, timeline: Timeline) -> str:
    probe, sample = lie.probe, lie.sample
    asked, answered = (moment - timeline.injected for moment in (probe.start, probe.end))
    said = (
        f"{probe.name} said {probe.status or 'nothing'} ({probe.reason})"
        if probe.reason
        else (f"{probe.name} said {probe.status or 'nothing'}")
    )
    return f"LIE: {said}, asked {asked:+.1f} s, answered {answered:+.1f} s; truth: {sample.reason or 'served'}"
