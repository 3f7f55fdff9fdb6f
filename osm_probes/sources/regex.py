"""A text of a manifest -> a regular expression that Envoy takes, or why it is none.

Envoy reads RE2 (https://github.com/google/re2/wiki/Syntax) and refuses all routes of a port for one wrong expression.
Here it must be right for Python too, which tells what is wrong; a few rare forms that RE2 alone knows are lost.
"""

import re
import warnings
from collections.abc import Iterator
from typing import Final

_LONGEST: Final = 1024
# RE2 repeats a thing a thousand times at most, and its programs have an end.
_LARGEST: Final = 1000

# What both know. Not there: look-around, references, comments, possessive and atomic groups.
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


def checked(text: str) -> str:
    """The expression as it is. Raises ValueError where Envoy would refuse it."""
    if len(text) > _LONGEST:
        raise ValueError(f"a regular expression is longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text[:64]!r} is no regular expression: {error}") from error
    if _size(text) > _LARGEST:
        raise ValueError(f"{text[:64]!r} is, its repetitions written out, longer than {_LARGEST}")
    return text


def _size(text: str) -> int:
    """How many parts it has when its counted repetitions are written out."""
    open_groups = [0]
    last = 0
    for token in _tokens(text):
        match token.lastgroup:
            case "open":
                open_groups.append(1)
                continue
            case "close":
                last = open_groups.pop()
            case "atom":
                last = 1
            case "least" | "most":
                times = max(int(token["least"]), int(token["most"] or 0), 1)
                open_groups[-1] += last * (times - 1)
                last *= times
                continue
            case _:
                continue
        open_groups[-1] += last
    return open_groups[0]


def _tokens(text: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(f"{text[:64]!r} has what RE2, Envoy's regular expressions, does not know")
        yield token
        place = token.end()
