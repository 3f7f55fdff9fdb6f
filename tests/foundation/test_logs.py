import fcntl
import json
import logging
import os
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from osm_probes.foundation.logs import LOGGER, LogWriter, LongText, configure_logs, logger, set_log_level
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.foundation.rate_limited_log import RateLimitedLog


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    LOGGER.handlers.clear()
    LOGGER.propagate = True
    LOGGER.setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    logging.getLogger().handlers.clear()


def _lines(level: str, *, big: str = "") -> list[dict[str, Any]]:
    reading, writing = os.pipe()
    writer = configure_logs(level, writer=LogWriter(writing))
    logger("ads").error("a stream ended", error="reset", big=big)
    logger("program").info("started", port=15128)
    logger("program").warning("odd")
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
    assert (second["component"], second["port"]) == ("program", 15128)


def test_lines_below_the_level_are_not_written() -> None:
    assert [line["level"] for line in _lines("warn")] == ["error", "warn"]
    assert _lines("disabled") == []


def test_the_level_can_be_changed_while_the_program_runs() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("error", writer=LogWriter(writing))
    logger("program").info("silent")
    set_log_level("debug")
    logger("program").debug("logged")
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert [json.loads(line)["message"] for line in pipe] == ["logged"]


def test_a_line_of_a_problem_log_names_the_file_that_reports_the_problem() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
    ProblemLog("ads", began="it is full", ended="there is room").update("full")
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert json.loads(pipe.read())["file"].startswith("test_logs.py:")


def test_a_fact_that_cannot_be_written_is_counted_and_ends_nothing() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError

    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
    logger("program").info("broken", fact=Broken())
    logger("program").info("whole")
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert [json.loads(line)["message"] for line in pipe] == ["whole"]
    assert writer.dropped == 1


def test_a_line_fits_a_pipes_atomic_write() -> None:
    line = _lines("error", big="x" * 100_000)[0]
    assert len(json.dumps(line)) < 4096
    assert line["level"] == "error"


def test_a_stderr_that_nothing_reads_does_not_block_the_program() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    started = time.monotonic()
    for _ in range(5000):
        writer.put(b"x" * 1000 + b"\n")
    assert time.monotonic() - started < 2
    assert writer.dropped > 1000
    os.close(reading)


def test_records_of_other_libraries_have_the_same_form() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
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


def test_a_warning_of_python_has_the_same_form() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("the name has more than 64 characters", UserWarning, stacklevel=1)
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        line = json.loads(pipe.read())
    assert (line["level"], line["component"]) == ("warn", "py.warnings")
    assert "the name has more than 64 characters" in line["message"]


def test_a_line_with_too_many_facts_still_fits() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
    logger("program").info("many", **{f"fact{index}": "x" * 90 for index in range(200)})
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        line = pipe.read()
    assert len(line) < 4096
    assert json.loads(line)["message"] == "many"


def test_the_human_form_is_not_json() -> None:
    reading, writing = os.pipe()
    human = {"OSM_HUMAN_DEBUG_LOG": "true"}
    writer = configure_logs("info", writer=LogWriter(writing), environment=human)
    logger("program").info("started", port=15128)
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "r") as pipe:
        assert pipe.read().split(" ", 1)[1] == "info  program: started port=15128\n"


def test_a_long_text_may_make_its_line_as_long_as_a_pipe_accepts_at_once() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
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


def test_the_judge_does_not_load_terminal_libraries() -> None:
    code = "import sys, osm_probes.judge.main; sys.exit('rich' in sys.modules or 'pygments' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_other_libraries_write_a_bounded_number_of_lines() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
    for number in range(1000):
        logging.getLogger("asyncio").error("a peer did something odd: %d", number)
    logger("ads").info("not limited")
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = [json.loads(line) for line in pipe]
    assert [line["component"] for line in lines] == ["asyncio"] * 60 + ["ads"]


def test_a_limited_line_names_the_file_of_its_caller() -> None:
    reading, writing = os.pipe()
    writer = configure_logs("info", writer=LogWriter(writing))
    RateLimitedLog("ads").warning("refused")
    ProblemLog("ads", began="full", ended="not full").update("7 proxies")
    writer.flush(within=2)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert {json.loads(line)["file"].partition(":")[0] for line in pipe} == {"test_logs.py"}
