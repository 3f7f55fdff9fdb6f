"""What a command says -> a terminal, with colour, or a pipe, plain."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from osm_probes.foundation.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

_GAP: Final = "   "
_PATIENCE: Final = 1.0


class Styled(NamedTuple):
    """A part of a line in one of rich's styles, where somebody sees colours."""

    text: str
    style: str


def judged(text: str, *, healthy: bool | None) -> Styled:
    """A verdict: green, red, or yellow where there is none."""
    return Styled(text, {True: "green", False: "bold red", None: "yellow"}[healthy])


def plain(parts: Sequence[str | Styled]) -> str:
    """The same line where nobody sees colours."""
    return "".join(one_line(each.text) for each in map(_styled, parts))


def _styled(part: str | Styled) -> Styled:
    return part if isinstance(part, Styled) else Styled(part, "")


class Screen:
    """Standard output and standard error of one command. On a terminal tables are rich's and statuses have a colour."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty()

    def say(self, text: str) -> None:
        """A line, or lines, as they are."""
        print(text, flush=True)

    def line(self, *parts: "str | Styled") -> None:
        """A line of plain and coloured parts."""
        if not self._colours:
            self.say(plain(parts))
            return
        from rich.text import Text

        styled = [(one_line(each.text), each.style) for each in map(_styled, parts)]
        _console().print(Text.assemble(*styled), soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line on standard error."""
        print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Say so on a terminal, in a line that goes again, where the block takes more than a second."""
        if not sys.stderr.isatty():
            yield
            return
        shown = asyncio.get_running_loop().call_later(_PATIENCE, lambda: self._rewrite(f"{text} …"))
        try:
            yield
        finally:
            shown.cancel()
            self._rewrite("")

    @staticmethod
    def _rewrite(text: str) -> None:
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def fail(self, error: Exception) -> None:
        """An error, as all commands tell it."""
        self.warn(f"Error: {error}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under their columns, aligned by blanks where it is piped; a cell is one line."""
        rows = [[one_line(cell) for cell in row] for row in rows]
        if self._colours:
            _console().print(_rich_table(columns, rows))
        else:
            self.say(aligned([columns, *rows]))

    def document(self, value: object, *, form: str) -> None:
        """A value for programs: `json` or `yaml`."""
        if form == "yaml":
            import yaml

            self.say(yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False).rstrip("\n"))
        else:
            self.say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns, with three blanks between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> object:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        from rich.markup import escape

        table.add_row(*map(escape, row))
    return table


def _console() -> "Console":
    from rich.console import Console

    return Console()
