"""What a check found, as a tree: statuses, reasons, and what to do."""

import enum
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from osm_probes.cli.console import Styled


class Status(enum.StrEnum):
    """Of a check, or of the worst below it."""

    SUCCESS = "Success"
    WARNING = "Warning"
    UNKNOWN = "Unknown"
    FAILURE = "Failure"


_WORSE: Final = list(Status)
_STYLES: Final = {
    Status.SUCCESS: "green",
    Status.WARNING: "yellow",
    Status.UNKNOWN: "yellow",
    Status.FAILURE: "bold red",
}


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A check by its name. A warning is worth a look and makes nothing unhealthy; unknown: nobody could look."""

    name: str
    status: Status = Status.SUCCESS
    reasons: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    results: tuple["Result", ...] = ()


def failure(name: str, *reasons: str, do: Sequence[str] = ()) -> Result:
    """It is not as it must be."""
    return Result(name=name, status=Status.FAILURE, reasons=reasons, suggestions=tuple(do))


def warning(name: str, *reasons: str, do: Sequence[str] = ()) -> Result:
    """It is well, but somebody should look."""
    return Result(name=name, status=Status.WARNING, reasons=reasons, suggestions=tuple(do))


def unknown(name: str, *reasons: str, do: Sequence[str] = ()) -> Result:
    """It could not be looked at."""
    return Result(name=name, status=Status.UNKNOWN, reasons=reasons, suggestions=tuple(do))


def together(name: str, results: Sequence[Result]) -> Result:
    """A node that is as its worst part is."""
    worst = max((each.status for each in results), key=_WORSE.index, default=Status.SUCCESS)
    return Result(name=name, status=worst, results=tuple(results))


def tree(result: Result, *, first: str = "", rest: str = "") -> Iterator[tuple[str | Styled, ...]]:
    """Its lines; a success is one line, anything else says why and what to do."""
    yield (first, result.name, ": ", Styled(result.status, _STYLES[result.status]))
    below = rest + ("│   " if result.results else "    ")
    for title, texts in (("Reason: ", result.reasons), ("Suggestion: ", result.suggestions)):
        for text in texts:
            yield (below, Styled(title, "bold"), text)
    for index, part in enumerate(result.results, 1):
        last = index == len(result.results)
        yield from tree(part, first=rest + ("└── " if last else "├── "), rest=rest + ("    " if last else "│   "))
