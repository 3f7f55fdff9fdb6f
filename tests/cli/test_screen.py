"""What is said to a pipe and to a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from osm_probes import __version__
from osm_probes.cli.screen import aligned

OSM = str(Path(sys.executable).with_name("osm"))


def on_terminal(*words: str) -> str:
    """What a command writes to a terminal of 60 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm-256color"}
    with subprocess.Popen([OSM, *words], stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
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
        ("x",),
    ],
)
def test_a_wrong_command_line_is_status_2_with_the_usage(words: tuple[str, ...]) -> None:
    end = subprocess.run([OSM, *words], capture_output=True, text=True, check=False, timeout=20)
    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr.startswith("usage: osm")
