"""The result of a check: a status, reasons and suggestions. Results form a tree."""

import enum
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from osm_probes.cli.output import Styled

REINSTALL: Final = "install the chart again, which creates it"


class Status(enum.StrEnum):
    """The status of a check, or the worst status of its parts. Later members are worse.

    A warning does not make a control plane unhealthy. Unknown means that the check could not read what it needs.
    """

    SUCCESS = "Success"
    WARNING = "Warning"
    UNKNOWN = "Unknown"
    FAILURE = "Failure"


_SEVERITY: Final = list(Status)
_STYLES: Final = {
    Status.SUCCESS: "green",
    Status.WARNING: "yellow",
    Status.UNKNOWN: "yellow",
    Status.FAILURE: "bold red",
}


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a check. `results` are the results of its parts."""

    name: str
    status: Status = Status.SUCCESS
    reasons: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    results: tuple["Result", ...] = ()


def success(name: str) -> Result:
    """The check found no fault."""
    return Result(name=name)


def failure(name: str, *reasons: str, suggestions: Sequence[str] = ()) -> Result:
    """The check found a fault."""
    return Result(name=name, status=Status.FAILURE, reasons=reasons, suggestions=tuple(suggestions))


def warning(name: str, *reasons: str, suggestions: Sequence[str] = ()) -> Result:
    """The check found something that a person should look at, but no fault."""
    return Result(name=name, status=Status.WARNING, reasons=reasons, suggestions=tuple(suggestions))


def unknown(name: str, *reasons: str, suggestions: Sequence[str] = ()) -> Result:
    """The check could not be made."""
    return Result(name=name, status=Status.UNKNOWN, reasons=reasons, suggestions=tuple(suggestions))


def group(name: str, results: Sequence[Result]) -> Result:
    """Combine results; the group has the worst status of its parts."""
    worst = max((result.status for result in results), key=_SEVERITY.index, default=Status.SUCCESS)
    return Result(name=name, status=worst, results=tuple(results))


def render_tree(result: Result, *, first_indent: str = "", indent: str = "") -> Iterator[tuple[str | Styled, ...]]:
    """The lines of a tree of results. A success is one line; other results also have reasons and suggestions."""
    yield (first_indent, result.name, ": ", Styled(result.status, _STYLES[result.status]))
    text_indent = indent + ("│   " if result.results else "    ")
    for title, texts in (("Reason: ", result.reasons), ("Suggestion: ", result.suggestions)):
        for text in texts:
            yield (text_indent, Styled(title, "bold"), text)
    for index, part in enumerate(result.results, 1):
        is_last = index == len(result.results)
        yield from render_tree(
            part,
            first_indent=indent + ("└── " if is_last else "├── "),
            indent=indent + ("    " if is_last else "│   "),
        )
