"""A late beat -> the program's stacks, logged once a hang, so that a restart does not take the cause away."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Final

from osm_probes.foundation.logs import LongText, logger
from osm_probes.health.stacks import REQUEST, StackFile
from osm_probes.judge.evaluator import ProbeEvaluator

_START_LIMIT: Final = 30.0
_LOOK_EVERY: Final = 0.5
_WRITTEN_WITHIN: Final = 1.0
_QUIET: Final = 0.1  # nothing says that the last thread is written
_LIMIT: Final = 65536


class HangWatch:
    """Watches the beat of the program with this process id, which must be the parent of this process."""

    def __init__(self, evaluator: ProbeEvaluator, *, stacks: StackFile, program: int) -> None:
        self._evaluator = evaluator
        self._stacks = stacks
        self._program = program

    async def run(self) -> None:
        """Watch, without an end."""
        told = False
        while True:
            reading = self._evaluator.look()
            age, limit = reading.beat_age, self._evaluator.judge_state.heartbeat_limit
            # Imports on a machine that is short of processor time are no hang.
            late = age > (limit if reading.has_served else max(limit, _START_LIMIT))
            if late and not told:
                await self._tell(age)
            told = late
            await asyncio.sleep(_LOOK_EVERY)

    async def _tell(self, age: float) -> None:
        folder = Path(f"/proc/{self._program}")
        status = _read(folder / "status")
        state = _field(status, "State")
        facts = {"beat_age": round(age, 1), "state": state, "waits_in": _read(folder / "wchan")}
        why_not = self._ask(state=state, caught=_field(status, "SigCgt"))
        if not why_not and not await self._written():
            why_not = f"it wrote none within {_WRITTEN_WITHIN:g} s"
        say = logger("judge").error
        if why_not:
            say("the program hangs", **facts, no_stacks=why_not)
        else:
            say("the program hangs", **facts, stacks=LongText(self._stacks.read(limit=_LIMIT)))

    def _ask(self, *, state: str, caught: str) -> str:
        """Ask for the stacks; why not, where that is of no use."""
        if state.startswith(("T", "t")):
            return "it is stopped"
        if not int(caught or "0", 16) >> (REQUEST - 1) & 1:
            return "it does not listen to the request"  # which would end it
        self._stacks.clear()
        if os.getppid() != self._program:
            return "it has ended"
        os.kill(self._program, REQUEST)
        return ""

    async def _written(self) -> bool:
        """Wait until the stacks are there, or for the limit; whether there are any."""
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
