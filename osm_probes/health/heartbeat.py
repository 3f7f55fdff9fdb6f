"""Health: a heartbeat and a phase in shared memory, which another process reads without asking."""

import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from osm_probes.health.lifecycle import Phase

_SIZE = mmap.PAGESIZE
_BEAT, _PHASE, _SERVED = range(3)


@dataclass(frozen=True, slots=True)
class HeartbeatReading:
    """What a pulse says at one moment: `beat_age` in seconds."""

    beat_age: float
    phase: Phase
    has_served: bool


class Heartbeat:
    """Beat, phase and served-once in a memfd that is handed on by its descriptor: no name, no disk.

    Each value is one aligned 8-byte cell, written whole: a reader never sees half of one
    (`struct.pack_into` writes byte by byte; one in six reads saw a zero).
    """

    def __init__(self, descriptor: int, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.descriptor = descriptor
        self._clock = clock
        self._map = mmap.mmap(descriptor, _SIZE)
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, *, clock: Callable[[], int] = time.monotonic_ns) -> "Heartbeat":
        """A new pulse that has beaten just now and is STARTING. Its descriptor is not inherited unless passed on."""
        descriptor = os.memfd_create("heartbeat", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        heartbeat = cls(descriptor, clock=clock)
        heartbeat.beat()
        return heartbeat

    def beat(self) -> None:
        """Say: alive now."""
        self._cells[_BEAT] = self._clock()

    def show(self, phase: Phase, *, has_served: bool) -> None:
        """Say what the component is."""
        self._cells[_SERVED] = int(has_served)
        self._cells[_PHASE] = int(phase)

    def read(self, *, not_before: int = 0) -> HeartbeatReading:
        """What the pulse says now; a beat older than `not_before` (clock's ns) counts from there.

        A reader that was itself asleep gives the moment when it woke, so that one pause of both is no missed beat.
        """
        beat = max(self._cells[_BEAT], not_before)
        age = max(0, self._clock() - beat) / 1e9
        return HeartbeatReading(age, Phase(self._cells[_PHASE]), bool(self._cells[_SERVED]))

    def close(self) -> None:
        """Give the memory and the descriptor back."""
        self._cells.release()
        self._map.close()
        os.close(self.descriptor)
