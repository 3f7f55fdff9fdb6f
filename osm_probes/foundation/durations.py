"""Foundation: durations as Go writes them -> seconds."""

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_AMOUNT: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_LONGEST_TEXT: Final = 64


def seconds_of(text: str) -> float:
    """The seconds of `24h`, `1h30m`, `500ms`. Raises ValueError, naming the text."""
    if len(text) > _LONGEST_TEXT or not re.fullmatch(f"({_AMOUNT.pattern})+", text):
        raise ValueError(f"{text[:_LONGEST_TEXT]!r} is no duration such as 24h, 1h30m or 500ms")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(text))
