"""`make faults`: every fault, one by one or side by side; the table; exit status 1 if a row fails."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import FrameType

from demo.namespaces import why_no_namespaces
from tests.faults import table
from tests.faults.compare import RowResult
from tests.faults.play import play
from tests.faults.row import Mode, Row
from tests.faults.rows import all_rows
from tests.faults.stage import InterruptedRowError

TABLE = Path(__file__).parents[2] / "docs" / "truth-table.md"
QUICK = Mode(heartbeat_limit=3.0, divisor=10)
_SIDE_BY_SIDE = 4  # a quiet row takes about a third of a core


def main() -> int:
    """Play the rows; the process's exit status."""
    given = _arguments()
    mode = QUICK if given.quick else Mode()
    rows = [row for row in all_rows(mode) if not given.only or row.name in given.only]
    if given.list:
        print("\n".join(f"{row.name:30}{row.program.value:16}{row.text}" for row in rows))
        return 0
    if unknown := set(given.only or ()) - {row.name for row in rows}:
        print(f"no such row: {', '.join(sorted(unknown))}; --list names them", file=sys.stderr)
        return 2
    if reason := why_no_namespaces():
        print(f"the fault matrix needs root, iproute2, iptables and curl: {reason}", file=sys.stderr)
        return 2
    matrix = Matrix(mode, keep=given.keep)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, matrix.interrupt)
    played = matrix.play(rows)
    target = given.table or (None if given.only or given.quick else TABLE)
    if target is not None and len(played) == len(rows):
        table.write(target, played, mode)
        print(f"written: {target}")
    return _summary(rows, played)


def _summary(rows: Sequence[Row], played: Sequence[table.Played]) -> int:
    passed = sum(result.passed for _, result in played)
    lies = sum(len(result.lies) for _, result in played)
    if len(played) < len(rows):
        print("interrupted: everything is stopped and taken away")
    print(f"\n{passed} of {len(rows)} rows passed; {lies} false answers")
    return 0 if passed == len(rows) else 1


class Matrix:
    """Plays rows: quiet ones side by side, each load row alone."""

    def __init__(self, mode: Mode, *, keep: Path | None) -> None:
        self._mode = mode
        self._keep = keep
        self._stop = threading.Event()

    def interrupt(self, _number: int, _process: FrameType | None) -> None:
        """End soon, with everything taken away."""
        self._stop.set()

    def play(self, rows: Sequence[Row]) -> list[table.Played]:
        """The results, in the rows' order; those that an interruption left out are missing."""
        results: dict[str, RowResult] = {}
        quiet = [row for row in rows if not row.load]
        for group, width in ((quiet, _SIDE_BY_SIDE), ([row for row in rows if row.load], 1)):
            # The longest first: then the last ones end together.
            order = sorted(group, key=lambda row: -row.lasts) if width > 1 else group
            with ThreadPoolExecutor(width) as pool:
                for future in as_completed([pool.submit(self._play, row) for row in order]):
                    if (done := future.result()) is not None:
                        results[done[0].name] = done[1]
        return [(row, results[row.name]) for row in rows if row.name in results]

    def _play(self, row: Row) -> table.Played | None:
        if self._stop.is_set():
            return None
        started = time.monotonic()
        try:
            result = play(row, self._mode, stop=self._stop, keep=self._keep)
        except InterruptedRowError:
            return None
        print(table.line(row, result, time.monotonic() - started), flush=True)
        return row, result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.faults", description="The fault matrix: do the probes tell the truth?")
    parser.add_argument("--quick", action="store_true", help="heartbeat limit 3 s, counts cut to a tenth")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these rows alone")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there (a full run: docs/)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep each row's logs, truth and probes there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
