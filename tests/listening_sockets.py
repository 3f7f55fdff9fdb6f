"""The listening sockets of this process, found through /proc by their port."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


def destroy_listening_socket(port: int) -> None:
    """Shut down the socket that listens on a port without its owner's knowledge, as `ss -K` does."""
    for copy in _sockets():
        with copy:
            if copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and copy.getsockname()[1] == port:
                copy.shutdown(socket.SHUT_RDWR)
                return
    raise AssertionError(f"no socket of this process listens on port {port}")


def _sockets() -> Iterator[socket.socket]:
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            if path.readlink().name.startswith("socket:"):
                yield socket.socket(fileno=os.dup(int(path.name)))
