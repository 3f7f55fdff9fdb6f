"""A program's heartbeat and phase in shared memory, which its judge reads."""

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
    """A heartbeat at one moment. beat_age: seconds since the last beat."""

    beat_age: float
    phase: Phase
    has_served: bool


class Heartbeat:
    """The last beat, the phase, and whether the program has served, in a memfd that is passed by descriptor.

    Each value is one aligned cell of 8 bytes, written at once, so that a reader never sees half a value. With
    `struct.pack_into`, which writes byte by byte, one in six reads saw a zero.
    """

    def __init__(self, descriptor: int, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.descriptor = descriptor
        self._clock = clock
        self._map = mmap.mmap(descriptor, _SIZE)
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, *, clock: Callable[[], int] = time.monotonic_ns) -> "Heartbeat":
        """A new heartbeat that beats now and is STARTING. Child processes do not inherit it unless told so."""
        descriptor = os.memfd_create("heartbeat", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        heartbeat = cls(descriptor, clock=clock)
        heartbeat.beat()
        return heartbeat

    def beat(self) -> None:
        """Record a beat now."""
        self._cells[_BEAT] = self._clock()

    def show(self, phase: Phase, *, has_served: bool) -> None:
        """Record the phase."""
        self._cells[_SERVED] = int(has_served)
        self._cells[_PHASE] = int(phase)

    def read(self, *, not_before: int = 0) -> HeartbeatReading:
        """The heartbeat now. A beat before `not_before` (ns of the clock) counts as if it had been then.

        A reader that was paused passes the moment when it resumed: the program may have been paused, too.
        """
        beat = max(self._cells[_BEAT], not_before)
        age = max(0, self._clock() - beat) / 1e9
        return HeartbeatReading(age, Phase(self._cells[_PHASE]), bool(self._cells[_SERVED]))

    def close(self) -> None:
        """Release the memory and the descriptor."""
        self._cells.release()
        self._map.close()
        os.close(self.descriptor)
