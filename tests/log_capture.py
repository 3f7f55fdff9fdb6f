"""The log lines of a test, as dictionaries."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from osm_probes.foundation.logs import LOGGER


class _Collector(logging.Handler):
    def __init__(self, lines: list[dict[str, Any]]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        facts = getattr(record, "facts", {})
        component = getattr(record, "component", record.name)
        level = record.levelname.lower()
        self._lines.append({"event": record.getMessage(), "log_level": level, "component": component, **facts})


@contextlib.contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """All lines of this project that are logged while the block lasts, at any level."""
    lines: list[dict[str, Any]] = []
    collector = _Collector(lines)
    level = LOGGER.level
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.addHandler(collector)
    try:
        yield lines
    finally:
        LOGGER.removeHandler(collector)
        LOGGER.setLevel(level)
