"""Results -> the table: one line each while it runs, a page of Markdown at the end."""

from collections.abc import Sequence
from pathlib import Path

from tests.faults.compare import RowResult
from tests.faults.row import Mode, Program, Row

Played = tuple[Row, RowResult]

_HEAD = """\
# What the probes say under faults

Written by `{command}`. The real osm-controller or osm-injector runs in a network namespace of its own;
one fault is injected from outside; a real client with a healthy identity asks to be served every 100 ms (new mTLS
connection, stream, a resource, 3 s at most; of the injector: a pod's review over verified TLS); probes come as a
kubelet sends them, one a second (new connection, 5 s at most).

A probe of readiness is a lie when every client from 1 s before it was asked until 1 s after it was answered contradicts
it; while a program drains only a false 200 is one. A judge that is killed takes the probe that it is just answering
along: in its rows one of each endpoint may get no response. A row passes when ready tells no lie, alive falls in time
for a real death or hang and for nothing else, and recovery needs no hand. tests/faults/compare.py has the rules.

Heartbeat limit {limit:g} s{counts}. **{passed} of {all} rows passed; {lies} false answers.**

- truth: whether clients were served during the fault, and what they saw if not
- alive, ready: the answers in the order in which they first came, with the seconds since the fault began;
  none = no response
- detection: from the first client that was not served to the first ready that said so, in seconds
- recovery: from the end of the fault until all probes said 200 for good, in seconds
"""
_COLUMNS = ("fault", "truth", "alive", "ready", "detection", "recovery", "verdict")


def line(row: Row, result: RowResult, took: float) -> str:
    """One row on a terminal, with what failed under it."""
    verdict = "pass" if result.passed else "FAIL"
    facts = f"truth {result.truth[:60]} | alive {result.alive} | ready {result.ready}"
    times = f"detected {_seconds(result.detection)}, recovered {_seconds(result.recovery)}"
    text = f"{verdict}  {row.name:29} {took:5.1f} s  {facts} | {times}"
    return "\n".join([text, *(f"      {failure}" for failure in result.failures)])


def page(played: Sequence[Played], mode: Mode) -> str:
    """The whole table."""
    quick = mode.divisor > 1
    head = _HEAD.format(
        command="make faults-quick" if quick else "make faults",
        limit=mode.heartbeat_limit,
        counts=f"; counts of clients cut to 1/{mode.divisor}" if quick else "",
        passed=sum(result.passed for _, result in played),
        all=len(played),
        lies=sum(len(result.lies) for _, result in played),
    )
    sections = [_section(program, [each for each in played if each[0].program is program]) for program in Program]
    return "\n".join([head, *sections])


def write(path: Path, played: Sequence[Played], mode: Mode) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(played, mode))


def _section(program: Program, played: Sequence[Played]) -> str:
    lines = [f"## {program.value}", "", _cells(*_COLUMNS), _cells(*("---" for _ in _COLUMNS))]
    for row, result in played:
        verdict = "pass" if result.passed else "**FAIL** " + "; ".join(result.failures)
        times = (_seconds(result.detection), _seconds(result.recovery))
        lines.append(_cells(row.text, result.truth, result.alive, result.ready, *times, verdict))
    return "\n".join([*lines, ""])


def _cells(*texts: str) -> str:
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in texts) + " |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
