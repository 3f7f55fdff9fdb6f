"""Health: where a program's stacks are written when its judge asks for them: memory that both processes hold."""

import faulthandler
import fcntl
import os
import signal
from typing import Final, Self

REQUEST: Final = signal.SIGUSR1
"""What makes a program write its stacks."""


class StackFile:
    """The stacks of all threads of one program, in a memfd that is handed on by its descriptor.

    The signal's handler is C and needs no GIL, so that a program which holds it for ever still writes.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> Self:
        """A new one, into which this process writes from now on whenever it gets `REQUEST`."""
        descriptor = os.memfd_create("stacks", os.MFD_CLOEXEC)
        # Both processes share one file position; appending, neither needs it.
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
        faulthandler.register(REQUEST, file=descriptor, all_threads=True, chain=False)
        return cls(descriptor)

    @property
    def size(self) -> int:
        """Bytes written since it was cleared."""
        return os.fstat(self.descriptor).st_size

    def clear(self) -> None:
        """Forget what was written."""
        os.ftruncate(self.descriptor, 0)

    def read(self, *, limit: int) -> str:
        """What was written, `limit` bytes of it at most."""
        return os.pread(self.descriptor, limit, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Write no more, and give the memory back."""
        faulthandler.unregister(REQUEST)
        os.close(self.descriptor)
