"""What a command says -> a terminal, with colour, or a pipe, plain."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from osm_probes.foundation.text import one_line

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

_SPACE: Final = "   "
_LEAST_LAST: Final = 20
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


class Console:
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
        loop = asyncio.get_running_loop()
        due = loop.time() + _PATIENCE
        shown = loop.call_at(due, lambda: print(f"{text} …", end="", file=sys.stderr, flush=True))
        try:
            yield
        finally:
            shown.cancel()
            if loop.time() >= due:
                print("\r\033[K", end="", file=sys.stderr, flush=True)

    def fail(self, error: Exception) -> None:
        """An error, as all commands tell it."""
        self.warn(f"Error: {error}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under their columns, aligned by blanks where it is piped; a cell is one line."""
        tame = [[one_line(cell) for cell in row] for row in rows]
        if self._colours:
            self._show_table(columns, tame)
        else:
            self.say(aligned([columns, *tame]))

    def _show_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Only the last column is folded, so that names can be copied; a terminal that is too narrow wraps lines."""
        from rich.markup import escape
        from rich.table import Table

        console = _console()
        *widths, last = _widths([columns, *rows])
        if sum(widths) + len(_SPACE) * len(widths) + min(last, _LEAST_LAST) > console.width:
            head, *lines = aligned([columns, *rows]).splitlines()
            self.line(Styled(head, "bold"))
            self.say("\n".join(lines))
            return
        table = Table(box=None, pad_edge=False, padding=(0, len(_SPACE), 0, 0), header_style="bold")
        for column in columns[:-1]:
            table.add_column(column, no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)

    def document(self, value: object, *, form: str) -> None:
        """A value for programs: `json` or `yaml`."""
        if form == "yaml":
            import yaml

            self.say(yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False).rstrip("\n"))
        else:
            self.say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns, with three blanks between."""
    widths = _widths(rows)
    lines = (_SPACE.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _console() -> "RichConsole":
    from rich.console import Console as RichConsole

    return RichConsole()
