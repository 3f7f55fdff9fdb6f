"""The phase of a serving component. Only allowed moves are possible."""

import asyncio
import enum
import time
from collections.abc import Callable

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest


class Phase(enum.IntEnum):
    """What a serving component does. The judge reads the numbers from shared memory."""

    STARTING = 0
    SERVING = 1
    RECOVERING = 2
    DRAINING = 3
    STOPPED = 4
    FAILED = 5


_NEXT = {
    Phase.STARTING: {Phase.SERVING, Phase.STOPPED, Phase.FAILED},
    Phase.SERVING: {Phase.RECOVERING, Phase.DRAINING, Phase.FAILED},
    Phase.RECOVERING: {Phase.SERVING, Phase.DRAINING, Phase.FAILED},
    Phase.DRAINING: {Phase.STOPPED, Phase.FAILED},
    Phase.FAILED: {Phase.STOPPED},
    Phase.STOPPED: set[Phase](),
}


class ImpossibleMoveError(OsmError):
    """A component cannot move from its phase to the one that was asked for."""


class Lifecycle:
    """One component's phase, since when, why, and whether the component has ever served."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.reason = "starting"
        self.has_served = False
        self._clock = clock
        self._since = clock()
        self.phases = Latest(Phase.STARTING)

    @property
    def phase(self) -> Phase:
        """The phase now."""
        return self.phases.value

    @property
    def age(self) -> float:
        """Seconds in this phase."""
        return self._clock() - self._since

    def move(self, phase: Phase, *, reason: str) -> None:
        """Move to `phase`; nothing happens if it is the present one. Raises ImpossibleMoveError."""
        if phase is self.phase:
            return
        if phase not in _NEXT[self.phase]:
            raise ImpossibleMoveError(f"{self.name} cannot go from {self.phase.name} to {phase.name} ({reason})")
        self.reason, self._since = reason, self._clock()
        self.has_served = self.has_served or phase is Phase.SERVING
        self.phases.set(phase)

    async def until(self, *phases: Phase, within: float | None = None) -> Phase:
        """Wait for one of these phases. Raises TimeoutError after `within` seconds, if they are given."""
        async with asyncio.timeout(within):
            while self.phase not in phases:
                await self.phases.after(self.phases.version)
        return self.phase
