"""Shared memory into which a program writes the stacks of its threads when its judge asks for them."""

import faulthandler
import fcntl
import os
import signal
from typing import Final, Self

_LIMIT: Final = 65536
REQUEST: Final = signal.SIGUSR1
"""The signal at which a program writes its stacks."""


class StackFile:
    """The stacks of one program's threads, in a memfd that is passed to the judge by descriptor.

    The signal handler is written in C and needs no GIL: it works even if a thread holds the GIL for ever.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> Self:
        """A new file, into which this process writes from now on whenever it receives REQUEST."""
        descriptor = os.memfd_create("stacks", os.MFD_CLOEXEC)
        # Both processes share one file position, which appending does not use.
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
        faulthandler.register(REQUEST, file=descriptor, all_threads=True, chain=False)
        return cls(descriptor)

    @property
    def size(self) -> int:
        """Bytes written since the last `clear`."""
        return os.fstat(self.descriptor).st_size

    def clear(self) -> None:
        """Drop what was written."""
        os.ftruncate(self.descriptor, 0)

    def read(self, *, limit: int) -> str:
        """What was written, at most `limit` bytes of it."""
        return os.pread(self.descriptor, limit, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Stop writing, and release the memory."""
        faulthandler.unregister(REQUEST)
        os.close(self.descriptor)


def stacks_of_this_process() -> str:
    """The stacks of all threads of this process, at most 64 KB of them."""
    with os.fdopen(os.memfd_create("stacks", os.MFD_CLOEXEC), "w+b") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        return os.pread(file.fileno(), _LIMIT, 0).decode("utf-8", "replace")
