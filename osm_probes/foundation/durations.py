"""Durations in Go's form -> seconds; seconds -> an age in kubectl's form."""

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_AMOUNT: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_LONGEST_TEXT: Final = 64


def seconds_of(text: str) -> float:
    """The seconds of `24h`, `1h30m`, `500ms`. Raises ValueError, naming the text."""
    if len(text) > _LONGEST_TEXT or not re.fullmatch(f"({_AMOUNT.pattern})+", text):
        raise ValueError(f"{text[:_LONGEST_TEXT]!r} is not a duration such as 24h, 1h30m or 500ms")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(text))


def age(seconds: float) -> str:
    """An age in kubectl's form, rounded down: 45s, 12m, 3h, 5d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
