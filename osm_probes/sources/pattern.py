"""A text of a manifest -> a regular expression that Envoy takes, or why it is none.

Envoy reads RE2 (https://github.com/google/re2/wiki/Syntax) and refuses all routes of a port for one wrong expression.
Here it must be right for Python too, which tells what is wrong; a few rare forms that RE2 alone knows are lost.
"""

import re
import warnings
from typing import Final

_LONGEST: Final = 1024
_MOST_REPEATS: Final = 1000

_COUNT: Final = r"\{\d+(?:,\d*)?\}"
_BOTH_KNOW: Final = re.compile(
    rf"""(?:
        [^\\\[(*+?{{]                            # a character that means itself, an anchor, an alternative, an end
      | \{{(?!\d+(?:,\d*)?\}})
      | \\(?:[^\w]|[aAbBdDfnrsStvwW]|x[0-9a-fA-F]{{2}})
      | \[\^?\]?(?:\\[^\w]|\\[abdDfnrsStvwW]|[^\]\\])*\]
      | \((?!\?) | \(\?(?:P<\w+>|[ims]*(?:-[ims]+)?[:)])
      | (?:[*+?]|{_COUNT})(?!\+)               # what RE2 lacks: possessive quantifiers
    )*\Z""",
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
    if not _BOTH_KNOW.match(text):
        raise ValueError(f"{text[:64]!r} has what RE2, Envoy's regular expressions, does not know")
    if any(int(number) > _MOST_REPEATS for count in re.findall(_COUNT, text) for number in re.findall(r"\d+", count)):
        raise ValueError(f"{text[:64]!r} repeats more than {_MOST_REPEATS} times")
    return text
