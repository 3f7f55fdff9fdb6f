"""Checks that Envoy accepts a regular expression of a manifest.

Envoy uses RE2 (https://github.com/google/re2/wiki/Syntax) and rejects all routes of a port if one expression is
invalid. The check also compiles the expression with Python's `re`, for its error messages; so a few rare forms that
only RE2 knows are rejected too.
"""

import re
import warnings
from collections.abc import Iterator
from typing import Final

_MAX_LENGTH: Final = 1024
# RE2 limits a repetition to 1000, and also the size of the compiled program.
_MAX_EXPANDED_SIZE: Final = 1000

# The syntax that both know. Not included: look-around, references, comments, possessive and atomic groups.
_TOKEN: Final = re.compile(
    r"""
      (?P<atom> [^\\\[(*+?{)]                   # a character that means itself, an anchor, an alternative
              | \{(?!\d+(?:,\d*)?\})
              | \\(?:[^\w]|[aAbBdDfnrsStvwW]|x[0-9a-fA-F]{2})
              | \[\^?\]?(?:\\[^\w]|\\[abdDfnrsStvwW]|\\x[0-9a-fA-F]{2}|[^\]\\])*\] )
    | (?P<open> \((?!\?) | \(\?(?:P<\w+>|[ims]*(?:-[ims]+)?:) )
    | (?P<flags> \(\?[ims]+\) )
    | (?P<close> \) )
    | (?: [*+?] | \{(?P<least>\d+)(?:,(?P<most>\d*))?\} ) (?!\+)
    """,
    re.VERBOSE,
)


def check_regex(text: str) -> str:
    """Return the expression unchanged. Raises ValueError if Envoy would reject it."""
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"a regular expression is longer than {_MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text[:64]!r} is not a regular expression: {error}") from error
    if _expanded_size(text) > _MAX_EXPANDED_SIZE:
        raise ValueError(f"{text[:64]!r} is longer than {_MAX_EXPANDED_SIZE} when its repetitions are expanded")
    return text


def _expanded_size(text: str) -> int:
    """The number of atoms and groups when counted repetitions are expanded."""
    group_sizes = [0]
    last = 0
    for token in _tokens(text):
        match token.lastgroup:
            case "open":
                group_sizes.append(1)
                continue
            case "close":
                last = group_sizes.pop()
            case "atom":
                last = 1
            case "least" | "most":
                times = max(int(token["least"]), int(token["most"] or 0), 1)
                group_sizes[-1] += last * (times - 1)
                last *= times
                continue
            case _:
                continue
        group_sizes[-1] += last
    return group_sizes[0]


def _tokens(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"{text[:64]!r} has syntax that RE2, Envoy's regular expressions, does not support")
        yield token
        position = token.end()
