"""`make faults`: run every row of the fault matrix and write the table. The exit status is 1 if a row fails."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import FrameType

from demo.namespaces import network_namespace_problem
from tests.faults import table
from tests.faults.compare import RowResult
from tests.faults.row import Mode, Row
from tests.faults.rows import all_rows
from tests.faults.runner import run_row
from tests.faults.testbed import InterruptedRowError

TABLE = Path(__file__).parents[2] / "docs" / "truth-table.md"
QUICK = Mode(heartbeat_limit=3.0, divisor=10)
_CONCURRENT_ROWS = 4  # a row without load uses about a third of a core


def main() -> int:
    """Run the rows. Returns the exit status of the process."""
    arguments = _arguments()
    mode = QUICK if arguments.quick else Mode()
    rows = [row for row in all_rows(mode) if not arguments.only or row.name in arguments.only]
    if arguments.list:
        print("\n".join(f"{row.name:30}{row.program.value:16}{row.text}" for row in rows))
        return 0
    if unknown := set(arguments.only or ()) - {row.name for row in rows}:
        print(f"no such row: {', '.join(sorted(unknown))}; --list names them", file=sys.stderr)
        return 2
    if reason := network_namespace_problem():
        print(f"the fault matrix needs root, iproute2, iptables and curl: {reason}", file=sys.stderr)
        return 2
    matrix = Matrix(mode, keep=arguments.keep)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, matrix.interrupt)
    outcomes = matrix.run(rows)
    target = arguments.table or (None if arguments.only or arguments.quick else TABLE)
    if target is not None and len(outcomes) == len(rows):
        table.write(target, outcomes, mode)
        print(f"written: {target}")
    return _summary(rows, outcomes)


def _summary(rows: Sequence[Row], outcomes: Sequence[table.Outcome]) -> int:
    passed = sum(result.passed for _, result in outcomes)
    false_answers = sum(len(result.false_answers) for _, result in outcomes)
    if len(outcomes) < len(rows):
        print("interrupted: everything is stopped and removed")
    print(f"\n{passed} of {len(rows)} rows passed; {false_answers} false answers")
    return 0 if passed == len(rows) else 1


class Matrix:
    """Runs the rows: rows without load concurrently, load rows one at a time."""

    def __init__(self, mode: Mode, *, keep: Path | None) -> None:
        self._mode = mode
        self._keep = keep
        self._stop = threading.Event()

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Stop soon, and remove everything."""
        self._stop.set()

    def run(self, rows: Sequence[Row]) -> list[table.Outcome]:
        """Run the rows and return their results, in the order of the rows; interrupted rows are left out."""
        results: dict[str, RowResult] = {}
        light = [row for row in rows if not row.load]
        for group, workers in ((light, _CONCURRENT_ROWS), ([row for row in rows if row.load], 1)):
            # The longest rows first, so that the last ones end at about the same time.
            order = sorted(group, key=lambda row: -row.duration) if workers > 1 else group
            with ThreadPoolExecutor(workers) as pool:
                for future in as_completed([pool.submit(self._run, row) for row in order]):
                    if (outcome := future.result()) is not None:
                        results[outcome[0].name] = outcome[1]
        return [(row, results[row.name]) for row in rows if row.name in results]

    def _run(self, row: Row) -> table.Outcome | None:
        if self._stop.is_set():
            return None
        started = time.monotonic()
        try:
            result = run_row(row, self._mode, stop=self._stop, keep=self._keep)
        except InterruptedRowError:
            return None
        print(table.line(row, result, time.monotonic() - started), flush=True)
        return row, result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.faults", description="The fault matrix: do the probes tell the truth?")
    parser.add_argument("--quick", action="store_true", help="heartbeat limit 3 s, a tenth of the clients")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run only these rows")
    parser.add_argument("--list", action="store_true", help="list the rows and exit")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="write the table to FILE (default of a full run: docs/)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the logs, samples and probes of each row in DIR")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
