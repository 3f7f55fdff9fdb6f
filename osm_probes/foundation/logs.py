"""Log records -> one JSON line each on stderr; a blocked stderr never blocks the program."""

import json
import logging
import os
import queue
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from osm_probes.foundation.line_limit import LineLimit

LEVELS: Final[Mapping[str, int]] = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "disabled": 100,
}
"""The level names of --verbosity, and the levels of `logging`."""

LOGGER: Final = logging.getLogger("osm_probes")
"""The parent of all records of this project. Those of other libraries go to the root logger."""

# A pipe takes lines up to this length whole, so that two processes on one stderr never mix their lines.
_LINE_LIMIT = 4096
# A pipe holds 64 KB in 16 pages: a line of 15 pages is written at once, unless its reader is behind.
_LONG_LINE_LIMIT = 15 * 4096
_QUEUE_LIMIT = 2000
_FOREIGN_LIMIT = 60
_SHORTER = (1500, 300, 40, 0)
_LONG_SHORTER = (48_000, 40_000, 30_000, 20_000, 8_000, *_SHORTER)
_MAX_FACTS = 30
_NAMES = {logging.WARNING: "warn", logging.CRITICAL: "fatal"}


class LongText(str):
    """A fact whose line may be 60 KB long. For rare lines, such as the one with the stacks of a hanging program."""

    __slots__ = ()


class ComponentLogger:
    """Logs for one component. Messages are constant; facts are keywords, which become fields of the line."""

    __slots__ = ("_component", "_depth")

    def __init__(self, component: str, *, depth: int = 0) -> None:
        self._component = component
        self._depth = depth

    def debug(self, message: str, **facts: object) -> None:
        """For whoever looks for a fault in this project."""
        self._log(logging.DEBUG, message, facts)

    def info(self, message: str, **facts: object) -> None:
        """What an operator wants to know afterwards."""
        self._log(logging.INFO, message, facts)

    def warning(self, message: str, **facts: object) -> None:
        """Something is wrong, and the program copes with it."""
        self._log(logging.WARNING, message, facts)

    def error(self, message: str, **facts: object) -> None:
        """A person should look."""
        self._log(logging.ERROR, message, facts)

    def critical(self, message: str, **facts: object) -> None:
        """The program ends because of this."""
        self._log(logging.CRITICAL, message, facts)

    def _log(self, level: int, message: str, facts: Mapping[str, object]) -> None:
        if LOGGER.isEnabledFor(level):
            # 3: the caller of `info`, not this function.
            extra = {"component": self._component, "facts": facts}
            LOGGER.log(level, message, extra=extra, stacklevel=3 + self._depth)


def logger(component: str, *, depth: int = 0) -> ComponentLogger:
    """The logger of a component, such as `ads`.

    depth: how many callers up the line is that a log line names as its file; 0 is the caller of `info`.
    """
    return ComponentLogger(component, depth=depth)


def set_log_level(level: str) -> None:
    """Log from this level on, a name of LEVELS. It may be changed at any time."""
    LOGGER.setLevel(LEVELS[level])


class LogWriter:
    """Writes lines to stderr from a thread of its own. Its queue is bounded: lines that do not fit are dropped.

    dropped: how many lines were dropped.
    """

    def __init__(self, descriptor: int = 2) -> None:
        self.dropped = 0
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


def configure_logs(
    level: str, *, writer: LogWriter | None = None, environment: Mapping[str, str] = os.environ
) -> LogWriter:
    """Send all logs of this process to stderr, from `level` (a name of LEVELS) on; other libraries' from warnings on.

    Other libraries write at most 60 lines a minute, because their peers can cause lines at will.

    With OSM_HUMAN_DEBUG_LOG=true the lines are for people instead of JSON.
    """
    writer = writer or LogWriter()
    formatter = _HumanFormatter() if environment.get("OSM_HUMAN_DEBUG_LOG") == "true" else _Formatter()
    LOGGER.handlers = [_Handler(writer, formatter)]
    LOGGER.propagate = False
    set_log_level(level)
    foreign = _Handler(writer, formatter)
    foreign.addFilter(_ForeignLines(_FOREIGN_LIMIT))
    logging.basicConfig(handlers=[foreign], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)  # else Python writes warnings to stderr itself, not as JSON
    return writer


class _Handler(logging.Handler):
    """Puts formatted records on the writer's queue."""

    def __init__(self, writer: LogWriter, formatter: logging.Formatter) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self.format(record).encode("utf-8", "replace") + b"\n")
        except Exception:  # a fact that cannot be written must not end what logs it
            self._writer.dropped += 1


class _ForeignLines(logging.Filter):
    """Limits the lines of other libraries."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = LineLimit(limit)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be written. The next line has the count of those that were not."""
        if (suppressed := self._limit.admit()) is None:
            return False
        if suppressed:
            record.facts = {**_error_of(record), "suppressed": suppressed}
        return True


class _Formatter(logging.Formatter):
    """A record as the contract's JSON object: level, component, time, file, message, then the facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "component": getattr(record, "component", record.name),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")[:-6] + "Z",
            "file": f"{record.filename}:{record.lineno}",
            "message": record.getMessage(),
            **getattr(record, "facts", _error_of(record)),
        }
        is_long = any(isinstance(value, LongText) for value in line.values())
        limit = _LONG_LINE_LIMIT if is_long else _LINE_LIMIT
        for longest in _LONG_SHORTER if is_long else _SHORTER:
            text = json.dumps(line, separators=(",", ":"), default=str, ensure_ascii=False)
            if len(text.encode("utf-8", "replace")) < limit:
                return text
            line = {key: _cut(value, longest) for key, value in list(line.items())[:_MAX_FACTS]}
        return text


class _HumanFormatter(_Formatter):
    """A record for people: time, level, component, message, then the facts as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        facts = json.loads(super().format(record))
        level, component, time, _, message = (
            facts.pop(key) for key in ("level", "component", "time", "file", "message")
        )
        rest = "".join(f" {key}={value}" for key, value in facts.items())
        return f"{time} {level:<5} {component}: {message}{rest}"


def _error_of(record: logging.LogRecord) -> Mapping[str, object]:
    """The error of another library's record."""
    error = record.exc_info[1] if record.exc_info else None
    return {"error": f"{type(error).__name__}: {error}"} if error else {}


def _cut(value: object, longest: int) -> str:
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]}…"
