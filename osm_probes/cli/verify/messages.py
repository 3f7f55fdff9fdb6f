"""Messages of Events and logs -> a few lines: each text once, with its number and age, newest first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from osm_probes.foundation.durations import age

_MAX_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class Message:
    """A text that was reported `count` times. last_seen: None if unknown."""

    text: str
    last_seen: datetime | None = None
    count: int = 1


def merge_messages(messages: Iterable[Message]) -> list[Message]:
    """Merge messages with the same text; newest first, messages without a time last."""
    merged: dict[str, Message] = {}
    for message in messages:
        earlier = merged.get(message.text)
        times = [known.last_seen for known in (earlier, message) if known and known.last_seen]
        count = message.count + (earlier.count if earlier else 0)
        merged[message.text] = Message(message.text, max(times, default=None), count)
    return sorted(
        merged.values(),
        key=lambda message: message.last_seen.timestamp() if message.last_seen else 0.0,
        reverse=True,
    )


def summarize(messages: Iterable[Message], *, now: datetime) -> list[str]:
    """The five newest messages as lines, and a line with the number of the others."""
    merged = merge_messages(messages)
    lines = [f"{message.text}{_frequency(message, now=now)}" for message in merged[:_MAX_LINES]]
    return [*lines, f"and {len(merged) - _MAX_LINES} more"] if len(merged) > _MAX_LINES else lines


def _frequency(message: Message, *, now: datetime) -> str:
    times = f"{message.count} times" if message.count > 1 else ""
    ago = f"{age((now - message.last_seen).total_seconds())} ago" if message.last_seen else ""
    parts = ", ".join(filter(None, (times, f"last {ago}" if times and ago else ago)))
    return f" ({parts})" if parts else ""
