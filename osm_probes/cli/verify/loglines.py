"""A container's log -> its lines at level error, each once."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.verify.result import Result, unknown, warning
from osm_probes.cli.verify.summary import Told, shown
from osm_probes.kube.errors import KubernetesError

# Compact, as ours is, or with a blank, as others write it.
_AT_ERROR: Final = re.compile(r'"level"\s*:\s*"(error|fatal|panic)"')
_LONGEST: Final = 300


class _Line(msgspec.Struct):
    message: str = ""
    probe: str = ""
    check: str = ""
    reason: str = ""
    error: str = ""
    time: datetime | None = None


def errors_of(log: str) -> Iterator[Told]:
    """Its lines at level error or worse."""
    for line in log.splitlines():
        if _AT_ERROR.search(line):
            yield _told(line)


def _told(line: str) -> Told:
    try:
        found = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError:
        return Told(line[:_LONGEST])
    facts = (found.message, found.probe, found.check, found.reason, found.error)
    text = ": ".join(filter(None, facts)) or line
    return Told(text[:_LONGEST], found.time if found.time and found.time.tzinfo else None)


def judge_logs(logs: Mapping[str, str | KubernetesError], *, now: datetime) -> Result:
    """Errors in the logs of a pod's containers; `logs` by what they are of. An error that passed is still told."""
    told: list[Told] = []
    unread: list[str] = []
    for name, log in logs.items():
        if isinstance(log, KubernetesError):
            unread.append(f"the log of {name} cannot be read: {log.needing('get pods/log')}")
        else:
            told += [Told(f"{name}: {each.text}", each.at, each.times) for each in errors_of(log)]
    lines = shown(told, now=now)
    if unread:
        return unknown("Log", *unread, *lines)
    return warning("Log", *lines) if lines else Result(name="Log")
