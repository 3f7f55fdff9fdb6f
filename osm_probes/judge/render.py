"""Ruling -> its words: bare for a kubelet, a line a check for a person, JSON for a program."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.health.checks import CheckResult
from osm_probes.health.messages import Transition
from osm_probes.health.verdict import CheckVerdict, Verdict
from osm_probes.judge.result import ProbeResult

_NAMES: Final = {"ads": "ADS"}
_KINDS: Final = {"alive": "Liveness", "ready": "Readiness"}


def bare(result: ProbeResult, *, well: str) -> str:
    """The contract's sentence: `well`, or the first check that fails."""
    if result.healthy:
        return well
    name = result.culprit.name
    return f"{_KINDS[result.probe]} probe for {_NAMES.get(name, name)} indicates it is not {result.probe}"


def verbose(
    result: ProbeResult, *, without: Collection[str], known: Collection[str], well: str, warnings: Sequence[str] = ()
) -> str:
    """A line for each check, as Kubernetes writes them, then the warnings, and the bare sentence last."""
    lines = [_line(report) for report in result.checks]
    lines += [f"[+]{name} excluded" for name in known if name in without]
    lines += [f"warn: no check {name} to exclude" for name in sorted(set(without) - set(known))]
    lines += [f"warn: {each}" for each in warnings]
    return "\n".join([*lines, bare(result, well=well)])


def _line(report: CheckResult) -> str:
    return f"[+]{report.name} ok" if report.healthy else f"[-]{report.name} failed: {report.reason}"


def as_json(
    result: ProbeResult, *, since: datetime | None, transitions: Sequence[Transition], warnings: Sequence[str] = ()
) -> str:
    """The ruling with all that is known about it; `since` when its verdict holds."""
    verdict = Verdict(
        probe=result.probe,
        healthy=result.healthy,
        since=since,
        checks=[_check(report) for report in result.checks],
        warnings=warnings,
        transitions=[msgspec.structs.asdict(transition) for transition in transitions],
    )
    return msgspec.json.encode(verdict).decode()


def _check(report: CheckResult) -> CheckVerdict:
    return CheckVerdict(report.name, report.healthy, report.reason, round(report.took, 4))
