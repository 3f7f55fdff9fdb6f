"""The start of the judge's process: it dies with its program from its first moment on, before all heavy imports.

Arguments: the log level, the program's process id, and descriptors: see `main`.
"""

import ctypes
import os
import signal
import sys

_SET_DEATH_SIGNAL = 1  # prctl(2): PR_SET_PDEATHSIG


def _die_with(program: int) -> None:
    """Be killed when the program dies, even if this process is stuck."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != program:  # it died before the call
        sys.exit(1)


if __name__ == "__main__":
    _die_with(int(sys.argv[2]))
    from osm_probes.judge.main import main

    main()
