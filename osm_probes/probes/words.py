"""Ruling -> its words: bare for a kubelet, a line a check for a person, JSON for a program."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from osm_probes.health.checks import Report
from osm_probes.probes.link import Transition
from osm_probes.probes.verdict import Ruling

_NAMES: Final = {"ads": "ADS"}
_KINDS: Final = {"alive": "Liveness", "ready": "Readiness"}


def bare(ruling: Ruling, *, well: str) -> str:
    """The contract's sentence: `well`, or the first check that fails."""
    if ruling.healthy:
        return well
    name = ruling.culprit.name
    return f"{_KINDS[ruling.probe]} probe for {_NAMES.get(name, name)} indicates it is not {ruling.probe}"


def verbose(
    ruling: Ruling, *, without: Collection[str], known: Collection[str], well: str, warnings: Sequence[str] = ()
) -> str:
    """A line for each check, as Kubernetes writes them, then the warnings, and the bare sentence last."""
    lines = [_line(report) for report in ruling.reports]
    lines += [f"[+]{name} excluded" for name in known if name in without]
    lines += [f"warn: no check {name} to exclude" for name in sorted(set(without) - set(known))]
    lines += [f"warn: {each}" for each in warnings]
    return "\n".join([*lines, bare(ruling, well=well)])


def _line(report: Report) -> str:
    return f"[+]{report.name} ok" if report.healthy else f"[-]{report.name} failed: {report.reason}"


class CheckVerdict(Struct):
    """A check's word in JSON; `seconds` it took."""

    name: str
    healthy: bool
    reason: str
    seconds: float


class Verdict(Struct):
    """A probe's answer in JSON; `transitions` are the newest, oldest first."""

    probe: str
    healthy: bool
    since: datetime | None = None
    checks: list[CheckVerdict] = []
    warnings: Sequence[str] = ()
    transitions: list[dict[str, object]] = []


def as_json(
    ruling: Ruling, *, since: datetime | None, transitions: Sequence[Transition], warnings: Sequence[str] = ()
) -> str:
    """The ruling with all that is known about it; `since` when its verdict holds."""
    verdict = Verdict(
        probe=ruling.probe,
        healthy=ruling.healthy,
        since=since,
        checks=[_check(report) for report in ruling.reports],
        warnings=warnings,
        transitions=[msgspec.structs.asdict(transition) for transition in transitions],
    )
    return msgspec.json.encode(verdict).decode()


def _check(report: Report) -> CheckVerdict:
    return CheckVerdict(report.name, report.healthy, report.reason, round(report.took, 4))
