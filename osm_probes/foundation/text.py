"""Text from outside -> text that is safe to encode and to print."""

from collections.abc import Sequence
from typing import Final

_EXCERPT: Final = 64


def legible(text: object) -> str:
    """The text, with escapes for what is not Unicode: the name of a file may be any bytes."""
    return str(text).encode(errors="backslashreplace").decode()


def one_line(text: str) -> str:
    """The text without line ends and other control characters, which could control a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def printable(text: str) -> str:
    """The text with its line ends, but without other control characters."""
    return "\n".join(map(one_line, text.split("\n")))


def excerpt(text: str) -> str:
    """The text in quotes, with escapes for what is not printable; of a long one only the beginning."""
    return repr(text) if len(text) <= _EXCERPT else f"{text[:_EXCERPT]!r}... ({len(text)} characters)"


def first_of(texts: Sequence[str]) -> str:
    """The first of these texts, and the number of the others; "" if there is none."""
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    return f"{texts[0]}{more}" if texts else ""
