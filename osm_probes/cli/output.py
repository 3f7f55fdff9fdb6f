"""Output of a command: text, tables and documents on a terminal or a pipe, and private files."""

import asyncio
import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.text import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

_COLUMN_GAP: Final = "   "
_MIN_LAST_COLUMN: Final = 20
_PROGRESS_DELAY: Final = 1.0
_MAX_NAME: Final = 200  # a file name has at most 255 bytes


class Styled(NamedTuple):
    """A part of a line with a style of the library rich. The style shows on a terminal only."""

    text: str
    style: str


def style_by_health(text: str, *, healthy: bool | None) -> Styled:
    """Colour a text: green if healthy, red if not, yellow if unknown."""
    return Styled(text, {True: "green", False: "bold red", None: "yellow"}[healthy])


def strip_styles(parts: Sequence[str | Styled]) -> str:
    """The text of a line, without styles."""
    return "".join(one_line(part.text) for part in map(_as_styled, parts))


def _as_styled(part: str | Styled) -> Styled:
    return part if isinstance(part, Styled) else Styled(part, "")


class Console:
    """Standard output and standard error of one command. Tables and colours are styled on a terminal only."""

    def __init__(self) -> None:
        self._on_terminal = sys.stdout.isatty()

    def print(self, text: str) -> None:
        """Print one or more lines unchanged."""
        print(text, flush=True)

    def print_line(self, *parts: "str | Styled") -> None:
        """Print a line. Control characters in its parts become spaces."""
        if not self._on_terminal:
            self.print(strip_styles(parts))
            return
        from rich.text import Text

        styled = [(one_line(part.text), part.style) for part in map(_as_styled, parts)]
        _rich_console().print(Text.assemble(*styled), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a line on standard error."""
        print(text, file=sys.stderr, flush=True)

    def print_error(self, error: Exception) -> None:
        """Print `Error: …` on standard error."""
        self.warn(printable(f"Error: {error}"))

    @contextlib.contextmanager
    def progress(self, text: str) -> Iterator[None]:
        """Show the text on a terminal while the block runs, if it runs for more than a second."""
        if not sys.stderr.isatty():
            yield
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + _PROGRESS_DELAY
        timer = loop.call_at(due, lambda: print(f"{text} …", end="", file=sys.stderr, flush=True))
        try:
            yield
        finally:
            timer.cancel()
            if loop.time() >= due:
                print("\r\033[K", end="", file=sys.stderr, flush=True)

    def print_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print rows in aligned columns. Each cell is one line: control characters become spaces."""
        cells = [[one_line(cell) for cell in row] for row in rows]
        if self._on_terminal:
            self._print_rich_table(columns, cells)
        else:
            self.print(align_columns([columns, *cells]))

    def _print_rich_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Fold only the last column, so that names can be copied. A terminal that is too narrow wraps the lines."""
        from rich.markup import escape
        from rich.table import Table

        console = _rich_console()
        *widths, last = _column_widths([columns, *rows])
        if sum(widths) + len(_COLUMN_GAP) * len(widths) + min(last, _MIN_LAST_COLUMN) > console.width:
            header, *lines = align_columns([columns, *rows]).splitlines()
            self.print_line(Styled(header, "bold"))
            self.print("\n".join(lines))
            return
        table = Table(box=None, pad_edge=False, padding=(0, len(_COLUMN_GAP), 0, 0), header_style="bold")
        for column in columns[:-1]:
            table.add_column(column, no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)

    def print_document(self, value: object, *, output_format: str) -> None:
        """Print a value as `json` or `yaml`, for other programs."""
        if output_format == "yaml":
            import yaml

            from osm_probes.cli.yaml_dumper import Dumper

            text = yaml.dump(msgspec.to_builtins(value), Dumper=Dumper, sort_keys=False)
            self.print(text.rstrip("\n"))
        else:
            self.print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Lines whose cells are aligned in columns, with three spaces between the columns."""
    widths = _column_widths(rows)
    lines = (_COLUMN_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _rich_console() -> "RichConsole":
    from rich.console import Console as RichConsole

    return RichConsole()


class OutputError(OsmError):
    """The file of --output cannot be written."""


def write_private_file(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read: whole, or not at all. An existing regular file is replaced.

    Raises OutputError.
    """
    new = file.with_name(f".{file.name[:_MAX_NAME]}.{secrets.token_hex(8)}")
    try:
        if (file.is_symlink() or file.exists()) and not stat.S_ISREG(file.lstat().st_mode):
            raise OutputError(f"--output {file}: it exists, and is not a regular file")
        _write_new(new, content)
        new.replace(file)
    except OSError as error:
        raise OutputError(f"--output {file}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def _write_new(file: Path, content: bytes) -> None:
    # O_EXCL: nobody else can have made the file, or a link in its place.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
