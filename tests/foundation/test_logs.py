import fcntl
import json
import logging
import os
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from osm_probes.foundation.logs import LogWriter, LongText, configure_logs, logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


def _lines(level: str, *, big: str = "") -> list[dict[str, Any]]:
    reading, writing = os.pipe()
    writer = configure_logs(level, component="osm-controller", writer=LogWriter(writing))
    structlog.get_logger(component="ads").error("a stream ended", error="reset", big=big)
    structlog.get_logger().info("started", port=15128)
    structlog.get_logger().warning("odd")
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return [json.loads(line) for line in pipe]


def test_a_line_is_one_object_with_the_contracts_keys_first() -> None:
    first, second, _third = _lines("info")
    assert list(first)[:5] == ["level", "component", "time", "file", "message"]
    assert (first["level"], first["component"], first["message"]) == ("error", "ads", "a stream ended")
    assert first["error"] == "reset"
    assert first["file"].startswith("test_logs.py:")
    assert (second["component"], second["port"]) == ("osm-controller", 15128)


def test_levels_below_the_wanted_one_are_silent() -> None:
    assert [line["level"] for line in _lines("warn")] == ["error", "warn"]
    assert _lines("disabled") == []


def test_a_line_fits_a_pipes_atomic_write() -> None:
    line = _lines("error", big="x" * 100_000)[0]
    assert len(json.dumps(line)) < 4096
    assert line["level"] == "error"


def test_a_reader_that_never_reads_blocks_nobody() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    started = time.monotonic()
    for _ in range(5000):
        writer.put(b"x" * 1000 + b"\n")
    assert time.monotonic() - started < 2
    assert writer.dropped > 1000
    os.close(reading)


def test_what_other_libraries_report_has_the_same_form() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", component="judge", writer=LogWriter(writing))
    logging.getLogger("asyncio").info("not worth a line")
    try:
        raise OSError("too many open files")
    except OSError:
        logging.getLogger("asyncio").exception("socket.accept() out of system resource")
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = [json.loads(line) for line in pipe]
    assert [(line["level"], line["component"], line["message"], line["error"]) for line in lines] == [
        ("error", "asyncio", "socket.accept() out of system resource", "OSError: too many open files")
    ]


def test_a_line_with_too_many_facts_still_fits() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", component="osm-controller", writer=LogWriter(writing))
    structlog.get_logger().info("many", **{f"fact{index}": "x" * 90 for index in range(200)})
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        line = pipe.read()
    assert len(line) < 4096
    assert json.loads(line)["message"] == "many"


def test_lines_for_a_persons_eyes_are_no_json() -> None:
    reading, writing = os.pipe()
    human = {"OSM_HUMAN_DEBUG_LOG": "true"}
    writer = configure_logs("info", component="osm-controller", writer=LogWriter(writing), environment=human)
    structlog.get_logger().info("started", port=15128)
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "r") as pipe:
        assert pipe.read().split(" ", 1)[1] == "info  osm-controller: started port=15128\n"


def test_a_long_text_lengthens_its_line_to_what_a_pipe_takes_whole_beside_another_line() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", component="judge", writer=LogWriter(writing))
    logger("judge").info("short", text="x" * 3500)
    logger("judge").error("long", stacks=LongText("\n".join(f"line {number}" for number in range(9_000))))
    writer.flush(within=2)
    held = fcntl.ioctl(reading, termios.FIONREAD, bytes(4))  # nobody has read yet
    with os.fdopen(reading, "rb") as pipe:
        short, long = pipe.readline(), pipe.readline()
    assert int.from_bytes(held, sys.byteorder) == len(short) + len(long)
    assert len(short) < 4096
    assert 30_000 < len(long) < 61_440
    assert json.loads(long)["stacks"].startswith("line 0\nline 1\n")
    os.close(writing)


def test_what_only_a_terminal_needs_is_not_loaded() -> None:
    code = "import sys, osm_probes.judge.main; sys.exit('rich' in sys.modules or 'pygments' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import osm_probes.foundation.logs, rich.console"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
