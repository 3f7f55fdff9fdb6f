"""What is said to a pipe and to a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from osm_probes import __version__
from osm_probes.cli.console import aligned

OSM = str(Path(sys.executable).with_name("osm"))


def on_terminal(*words: str, columns: int = 60, command: tuple[str, ...] = (OSM,)) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([*command, *words], stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 4096):
                said += chunk
        except OSError:  # the other end is closed
            pass
        assert process.wait(10) == 0
    os.close(ours)
    return said.decode()


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("A", "LONG", "C"), ("aaa", "b", "")]) == "A     LONG   C\naaa   b"


def test_a_terminal_gets_a_bold_head() -> None:
    said = on_terminal("version", "--client")
    assert "\x1b[1mCOMPONENT" in said
    assert f"{__version__}" in said


SCRIPT = """
from osm_probes.cli.console import Console, judged
screen = Console()
screen.table(("NAME", "WHY"), [("osm-controller-5494bcffb6-qpjdv", "word " * 12), ("[bold]x", "")])
screen.line("it is ", judged("no", healthy=False), ": [red]\\x1b[2J")
"""


def test_only_the_last_column_is_folded_and_nothing_from_outside_is_a_style() -> None:
    said = on_terminal("-c", SCRIPT, command=(sys.executable,)).replace("\r\n", "\n")
    lines = [line.rstrip() for line in said.splitlines()]
    assert lines[0].startswith("\x1b[1mNAME")
    assert lines[1:] == [
        "osm-controller-5494bcffb6-qpjdv   word word word word word",
        "                                  word word word word word",
        "                                  word word",
        "[bold]x",
        "it is \x1b[1;31mno\x1b[0m: [red] [2J",
    ]


def test_a_terminal_that_is_too_narrow_wraps_lines_itself() -> None:
    said = on_terminal("-c", SCRIPT, columns=40, command=(sys.executable,)).replace("\r\n", "\n")
    assert f"osm-controller-5494bcffb6-qpjdv   {'word ' * 12}".rstrip() + "\n" in said


def test_work_of_more_than_a_second_is_said_and_unsaid() -> None:
    script = """
import asyncio
from osm_probes.cli.console import Console
async def work(seconds):
    with Console().working(f"work of {seconds} s"):
        await asyncio.sleep(seconds)
asyncio.run(work(0)); asyncio.run(work(1.2)); print("done")
"""
    assert on_terminal("-c", script, command=(sys.executable,)) == "work of 1.2 s …\r\x1b[Kdone\r\n"


def test_a_reader_that_has_seen_enough_ends_the_command_quietly() -> None:
    script = f"set -o pipefail; {OSM} completion bash | true"
    end = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=20)
    assert (end.returncode, end.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ("mesh",),
        ("namespace", "add"),
        ("probe", "nobody"),
        ("proxy", "get", "certs", "a/../b"),
        ("namespace", "remove", "../x"),
        ("probe", "--osm-namespace", "a/b"),
        ("x",),
    ],
)
def test_a_wrong_command_line_is_status_2_with_the_usage(words: tuple[str, ...]) -> None:
    end = subprocess.run([OSM, *words], capture_output=True, text=True, check=False, timeout=20)
    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr.startswith("usage: osm")
