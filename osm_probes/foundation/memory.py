"""The memory of this process: how much is in RAM, and the return of what was freed.

glibc keeps memory that was freed between pieces that are in use, in one arena for each thread. After a load, a process
of many threads would keep several times the memory that it uses.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_RETURN_EVERY: Final = 30.0


def resident_bytes() -> int:
    """The memory of this process that is in RAM. Raises OSError without a free file descriptor."""
    return int(_STATM.read_bytes().split()[1]) * _PAGE


async def return_freed_memory(*, every: float = _RETURN_EVERY) -> None:
    """Give freed memory back to the kernel at this interval, from a thread: it may take a tenth of a second.

    Runs until it is cancelled; does nothing if the C library cannot do it (other libraries than glibc).
    """
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while True:
        await asyncio.sleep(every)
        if trim is not None:
            await asyncio.to_thread(trim, 0)
