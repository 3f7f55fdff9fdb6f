"""Output to a pipe and to a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from osm_probes import __version__
from osm_probes.cli.output import Console, OutputError, align_columns, write_private_file
from osm_probes.foundation.errors import OsmError

OSM = str(Path(sys.executable).with_name("osm"))


def on_terminal(*words: str, columns: int = 60, command: tuple[str, ...] = (OSM,)) -> str:
    """The output of a command on a terminal."""
    terminal, command_end = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*command, *words], stdout=command_end, stderr=command_end, stdin=command_end, env=environment
    ) as process:
        os.close(command_end)
        output = b""
        try:
            while chunk := os.read(terminal, 4096):
                output += chunk
        except OSError:  # the command has closed its end
            pass
        assert process.wait(10) == 0
    os.close(terminal)
    return output.decode()


def test_a_column_is_as_wide_as_its_widest_cell() -> None:
    assert align_columns([("A", "LONG", "C"), ("aaa", "b", "")]) == "A     LONG   C\naaa   b"


def test_a_table_on_a_terminal_has_a_bold_header() -> None:
    output = on_terminal("version", "--client")
    assert "\x1b[1mCOMPONENT" in output
    assert f"{__version__}" in output


SCRIPT = """
from osm_probes.cli.output import Console, style_by_health
console = Console()
console.print_table(("NAME", "WHY"), [("osm-controller-5494bcffb6-qpjdv", "word " * 12), ("[bold]x", "")])
console.print_line("it is ", style_by_health("no", healthy=False), ": [red]\\x1b[2J")
"""


def test_only_the_last_column_is_folded_and_markup_in_cells_has_no_effect() -> None:
    output = on_terminal("-c", SCRIPT, command=(sys.executable,)).replace("\r\n", "\n")
    lines = [line.rstrip() for line in output.splitlines()]
    assert lines[0].startswith("\x1b[1mNAME")
    assert lines[1:] == [
        "osm-controller-5494bcffb6-qpjdv   word word word word word",
        "                                  word word word word word",
        "                                  word word",
        "[bold]x",
        "it is \x1b[1;31mno\x1b[0m: [red] [2J",
    ]


def test_a_terminal_that_is_too_narrow_wraps_the_lines_itself() -> None:
    output = on_terminal("-c", SCRIPT, columns=40, command=(sys.executable,)).replace("\r\n", "\n")
    assert f"osm-controller-5494bcffb6-qpjdv   {'word ' * 12}".rstrip() + "\n" in output


def test_progress_is_shown_after_a_second_and_erased_at_the_end() -> None:
    script = """
import asyncio
from osm_probes.cli.output import Console
async def work(seconds):
    with Console().progress(f"work of {seconds} s"):
        await asyncio.sleep(seconds)
asyncio.run(work(0)); asyncio.run(work(1.2)); print("done")
"""
    assert on_terminal("-c", script, command=(sys.executable,)) == "work of 1.2 s …\r\x1b[Kdone\r\n"


def test_an_error_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Console().print_error(OsmError("the pod says \x1b[2J"))
    assert capsys.readouterr().err == "Error: the pod says  [2J\n"


def test_a_private_file_replaces_a_regular_file_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("old")
    file.chmod(0o644)
    write_private_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_private_file_that_cannot_be_written_whole_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report"
    file.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("osm_probes.cli.output.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_private_file(file, b"new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_private_file_never_replaces_a_link_or_a_device(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    os.mkfifo(pipe)
    for special in (link, pipe):
        with pytest.raises(OutputError, match="it exists, and is not a regular file"):
            write_private_file(special, b"new")
    assert link.is_symlink()
    assert pipe.is_fifo()
    assert target.read_text() == "old"
