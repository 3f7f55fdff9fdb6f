"""HTTPRouteGroup -> its matches that Envoy accepts, and the reasons why the others have no effect.

A match that Envoy would reject is left out, because Envoy would reject all routes of the port, with later revocations.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from osm_probes.sources.regex import MAX_PROGRAM_SIZE
from osm_probes.sources.schema import Pattern
from osm_probes.sources.smi import HTTPMatch, HTTPRouteGroup

# It limits the time for one group to about 30 ms: an expression that is too large counts as MAX_PROGRAM_SIZE.
_MAX_GROUP_SIZE: Final = 4 * MAX_PROGRAM_SIZE
_MAX_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True)
class UsableMatches:
    """matches: those that Envoy accepts. names: of all matches. problems: why the others have no effect."""

    matches: tuple[HTTPMatch, ...]
    names: frozenset[str]
    problems: tuple[str, ...]


def usable_matches(group: HTTPRouteGroup) -> UsableMatches:
    """The matches of a group. A match with an invalid expression permits nothing."""
    usable: list[HTTPMatch] = []
    problems: list[str] = []
    left = _MAX_GROUP_SIZE
    for match in group.spec.matches:
        problem, used = _check(match, left)
        left -= used
        if problem:
            problems.append(f"the match {match.name[:64]!r} permits nothing: {problem}")
        else:
            usable.append(match)
    if len(problems) > _MAX_PROBLEMS:
        problems[_MAX_PROBLEMS:] = [f"{len(problems) - _MAX_PROBLEMS} more matches permit nothing"]
    return UsableMatches(tuple(usable), frozenset(match.name for match in group.spec.matches), tuple(problems))


def _check(match: HTTPMatch, left: int) -> tuple[str, int]:
    """Why Envoy would reject a match, or "", and the size of its expressions."""
    used = 0
    for where, pattern in _patterns(match):
        if used >= left:
            return "the expressions of the group are too large together", used
        used += pattern.program.size
        if pattern.program.problem:
            return f"{where}: {pattern.program.problem}", used
    return "", used


def _patterns(match: HTTPMatch) -> Iterator[tuple[str, Pattern]]:
    yield "pathRegex", match.path_regex
    for headers in match.headers if isinstance(match.headers, list) else [match.headers]:
        yield from ((f"headers.{name[:64]}", pattern) for name, pattern in headers.items())
