"""Root -> a program as another user: `python become.py UID PROGRAM ARGUMENT...`.

The program is opened before the user changes, so that its folder (often below /root) may be closed to that user.
"""

import os
import sys


def become(uid: int) -> None:
    """Be that user from now on, for good."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


if __name__ == "__main__":
    uid, program, *_ = sys.argv[1:]
    descriptor = os.open(program, os.O_RDONLY)
    become(int(uid))
    os.execve(descriptor, sys.argv[2:], os.environ)  # noqa: S606 - no shell is wanted
