"""A late heartbeat -> the program's stacks in the log, once for each hang, before a restart destroys the evidence."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Final

from osm_probes.foundation.logs import LongText, logger
from osm_probes.health.stacks import REQUEST, StackFile
from osm_probes.judge.program_view import ProgramView

_START_LIMIT: Final = 30.0
_LOOK_EVERY: Final = 0.5
_WRITTEN_WITHIN: Final = 1.0
_QUIET: Final = 0.1  # nothing marks the end of the last stack
_LIMIT: Final = 65536


class HangWatch:
    """Watches the heartbeat of the program with this process id, which must be the parent of this process."""

    def __init__(self, view: ProgramView, *, stacks: StackFile, program: int) -> None:
        self._view = view
        self._stacks = stacks
        self._program = program

    async def run(self) -> None:
        """Watch, without an end."""
        logged = False
        while True:
            reading = self._view.read()
            age, limit = reading.beat_age, self._view.judge_state.heartbeat_limit
            # A slow start, such as imports with little processor time, is no hang.
            late = age > (limit if reading.has_served else max(limit, _START_LIMIT))
            if late and not logged:
                await self._log(age)
            logged = late
            await asyncio.sleep(_LOOK_EVERY)

    async def _log(self, age: float) -> None:
        folder = Path(f"/proc/{self._program}")
        status = _read(folder / "status")
        state = _field(status, "State")
        facts = {"beat_age": round(age, 1), "state": state, "waits_in": _read(folder / "wchan")}
        no_stacks = self._request_stacks(state=state, caught=_field(status, "SigCgt"))
        if not no_stacks and not await self._written():
            no_stacks = f"it wrote none within {_WRITTEN_WITHIN:g} s"
        log = logger("judge")
        if no_stacks:
            log.error("the program hangs", **facts, no_stacks=no_stacks)
        else:
            log.error("the program hangs", **facts, stacks=LongText(self._stacks.read(limit=_LIMIT)))

    def _request_stacks(self, *, state: str, caught: str) -> str:
        """Ask the program for its stacks; the reason if that is of no use."""
        if state.startswith(("T", "t")):
            return "it is stopped"
        if not int(caught or "0", 16) >> (REQUEST - 1) & 1:
            return "it does not handle the signal"  # which would end it
        self._stacks.clear()
        if os.getppid() != self._program:
            return "it has ended"
        os.kill(self._program, REQUEST)
        return ""

    async def _written(self) -> bool:
        """Wait until the stacks are complete, or for the time limit; whether there are any."""
        deadline = time.monotonic() + _WRITTEN_WITHIN
        size = 0
        while time.monotonic() < deadline:
            await asyncio.sleep(_QUIET)
            if size == (size := self._stacks.size) and size:
                break
        return size > 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    return found[1] if found else ""
