"""Many lines -> few: each text once, with how often and how long ago, newest first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from osm_probes.foundation.durations import age

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Told:
    """Something that was told: `at` last, None if nobody knows."""

    text: str
    at: datetime | None = None
    times: int = 1


def once(told: Iterable[Told]) -> list[Told]:
    """The same texts as one, newest first; what has no time comes last."""
    found: dict[str, Told] = {}
    for each in told:
        before = found.get(each.text)
        newest = max((known.at for known in (before, each) if known and known.at), default=None)
        found[each.text] = Told(each.text, newest, each.times + (before.times if before else 0))
    return sorted(found.values(), key=lambda each: each.at.timestamp() if each.at else 0.0, reverse=True)


def shown(told: Iterable[Told], *, now: datetime) -> list[str]:
    """The newest five as lines, and how many more there are."""
    found = once(told)
    lines = [f"{each.text}{_how_often(each, now=now)}" for each in found[:_SHOWN]]
    return [*lines, f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else lines


def _how_often(told: Told, *, now: datetime) -> str:
    times = f"{told.times} times" if told.times > 1 else ""
    ago = f"{age((now - told.at).total_seconds())} ago" if told.at else ""
    both = ", ".join(filter(None, (times, f"last {ago}" if times and ago else ago)))
    return f" ({both})" if both else ""
