"""Foundation: log events -> one JSON line each on stderr, never waiting for the reader of stderr."""

import json
import logging
import os
import queue
import threading
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from osm_probes.foundation.plain_structlog import FilteringBoundLogger, structlog

LEVELS: Final[Mapping[str, int]] = {
    "trace": 5,
    "debug": 10,
    "info": 20,
    "warn": 30,
    "error": 40,
    "fatal": 50,
    "panic": 50,
    "disabled": 100,
}
"""The level names of --verbosity and their weights."""

_LINE_LIMIT = 4096  # a pipe takes lines up to this whole, so two processes on one stderr never mix theirs
# A pipe holds 64 KB in 16 pages: a line of 15 goes in with one write, whole, unless its reader is behind.
_LONG_LINE_LIMIT = 15 * 4096
_QUEUE_LIMIT = 2000
_SHORTER = (1500, 300, 40, 0)
_LONG_SHORTER = (48_000, 40_000, 30_000, 20_000, 8_000, *_SHORTER)
_MOST_FACTS = 30
_NAMES = {"warning": "warn", "critical": "fatal", "exception": "error"}


class LongText(str):
    """A fact for whose sake its line may be 60 KB long: for rare lines, such as that with the stacks of a hang."""

    __slots__ = ()


def logger(component: str) -> FilteringBoundLogger:
    """A logger whose lines say that they come from `component`. Messages are constant, facts are keywords."""
    bound: FilteringBoundLogger = structlog.get_logger(component=component)
    return bound


class LogWriter:
    """Writes lines to stderr from a thread of its own: a blocked stderr never blocks the program.

    The queue is bounded; what does not fit is dropped and counted in `dropped`. `level`, a name of LEVELS, is what
    lines are written from; it may be changed at any time.
    """

    def __init__(self, descriptor: int = 2) -> None:
        self.dropped = 0
        self.level = "info"
        self._descriptor = descriptor
        self._queue: queue.Queue[bytes] = queue.Queue(_QUEUE_LIMIT)
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue one line, its newline included."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def flush(self, *, within: float) -> None:
        """Wait until all lines are written, `within` seconds at most."""
        done = threading.Thread(target=self._queue.join, daemon=True)
        done.start()
        done.join(within)

    def _write(self) -> None:
        while True:
            line = self._queue.get()
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                self.dropped += 1
            finally:
                self._queue.task_done()


class _Logger:
    """The end of structlog's chain: a rendered line goes to the writer."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        """Take one line."""
        self._writer.put(line.encode("utf-8", "replace") + b"\n")

    debug = info = warning = error = critical = log = msg


def configure_logs(
    level: str, *, component: str, writer: LogWriter | None = None, environment: Mapping[str, str] = os.environ
) -> LogWriter:
    """Send all logs of this process to stderr, from `level` (a name of LEVELS) on. `component` where none is bound.

    Other modules log with `logger("ads").info("…")`. With OSM_HUMAN_DEBUG_LOG=true lines are for a person's eyes.
    """
    writer = writer or LogWriter()
    line = _HumanLine if environment.get("OSM_HUMAN_DEBUG_LOG") == "true" else _Line
    writer.level = level

    def judge(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        name = _NAMES.get(method, method)
        if LEVELS[name] < LEVELS[writer.level]:
            raise structlog.DropEvent
        event["level"] = name
        return event

    def make(*arguments: Any) -> _Logger:
        return _Logger(writer)

    structlog.configure(
        processors=[
            judge,
            structlog.processors.CallsiteParameterAdder(
                [structlog.processors.CallsiteParameter.FILENAME, structlog.processors.CallsiteParameter.LINENO]
            ),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            line(component),
        ],
        logger_factory=make,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Others(logging.WARNING)], level=logging.WARNING, force=True)
    return writer


class _Others(logging.Handler):
    """Warnings and errors of other libraries, such as asyncio: lines of the same form, component = the library."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        report = logger(record.name)
        say = report.error if record.levelno >= logging.ERROR else report.warning
        error = record.exc_info[1] if record.exc_info else None
        say(record.getMessage(), **({"error": f"{type(error).__name__}: {error}"} if error else {}))


class _Line:
    """Renders an event as the contract's JSON object: level, component, time, file, message, then the facts."""

    def __init__(self, component: str) -> None:
        self._component = component

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        line = {
            "level": event.pop("level"),
            "component": event.pop("component", self._component),
            "time": event.pop("time"),
            "file": f"{event.pop('filename')}:{event.pop('lineno')}",
            "message": event.pop("event"),
            **event,
        }
        is_long = any(isinstance(value, LongText) for value in line.values())
        limit = _LONG_LINE_LIMIT if is_long else _LINE_LIMIT
        for most in _LONG_SHORTER if is_long else _SHORTER:
            text = json.dumps(line, separators=(",", ":"), default=str, ensure_ascii=False)
            if len(text.encode("utf-8", "replace")) < limit:
                return text
            line = {key: _cut(value, most) for key, value in list(line.items())[:_MOST_FACTS]}
        return text


class _HumanLine(_Line):
    """The same for a person's eyes: time, level, component, message, then the facts as key=value."""

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        """Render."""
        facts = json.loads(super().__call__(logger, method, event))
        level, component, time, _, message = (
            facts.pop(key) for key in ("level", "component", "time", "file", "message")
        )
        rest = "".join(f" {key}={value}" for key, value in facts.items())
        return f"{time} {level:<5} {component}: {message}{rest}"


def _cut(value: object, most: int) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}…"
