"""Run a program as another user: `python switch_user.py UID PROGRAM ARGUMENT...`. Needs root.

The program file is opened before the user changes, because the new user may have no access to its folder (for example
below /root).
"""

import os
import sys


def switch_user(uid: int) -> None:
    """Change this process's user and group permanently, and drop all supplementary groups."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


if __name__ == "__main__":
    uid, program, *_ = sys.argv[1:]
    descriptor = os.open(program, os.O_RDONLY)
    switch_user(int(uid))
    os.execve(descriptor, sys.argv[2:], os.environ)  # noqa: S606 - needs no shell
