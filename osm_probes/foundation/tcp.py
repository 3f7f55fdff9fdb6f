"""Port -> the TCP connections that this process accepted on it, although a library owns their sockets.

The kernel knows how much each peer has sent, whatever the library makes of it: https://man7.org/linux/man-pages/man7/tcp.7.html
(TCP_INFO). A kernel that does not count these bytes reports zero.
"""

import ctypes
import os
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

_DESCRIPTORS: Final = Path("/proc/self/fd")
# PyDLL keeps the GIL: the call does not wait, and a thread that got the GIL meanwhile would delay the next one.
_LIBC: Final = ctypes.PyDLL(None)


class _TcpInfo(ctypes.Structure):
    """The beginning of the kernel's struct tcp_info."""

    _fields_ = (("before", ctypes.c_uint8 * 128), ("bytes_received", ctypes.c_uint64))


Peer = tuple[str, int]
"""The address and the port of a client. An IPv4 address is in its own form, also on an IPv6 socket."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection while it is open: no two sockets have the same inode at a time."""

    descriptor: int
    inode: int
    peer: Peer


class AcceptedConnections:
    """The connections that this process accepted on `port`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: dict[int, tuple[int, Connection | None]] = {}  # descriptor -> inode, None for other sockets

    def __iter__(self) -> Iterator[Connection]:
        """All open connections. A library may close any of them at any time."""
        descriptors = [int(name) for name in os.listdir(_DESCRIPTORS)]  # noqa: PTH208 - iterdir takes thrice as long
        self._known = {each: self._known[each] for each in descriptors if each in self._known}
        for descriptor in descriptors:
            if (connection := self._look(descriptor)) is not None:
                yield connection

    def _look(self, descriptor: int) -> Connection | None:
        try:
            status = os.fstat(descriptor)
        except OSError:
            return None  # closed meanwhile
        known = self._known.get(descriptor)
        if known is None or known[0] != status.st_ino:
            is_socket = stat.S_ISSOCK(status.st_mode)
            known = status.st_ino, self._identify(descriptor, status.st_ino) if is_socket else None
            self._known[descriptor] = known
        return known[1]

    def _identify(self, descriptor: int, inode: int) -> Connection | None:
        try:
            with socket.socket(fileno=os.dup(descriptor)) as own:
                if own.family not in (socket.AF_INET, socket.AF_INET6) or own.getsockname()[1] != self._port:
                    return None
                return Connection(descriptor, inode, peer_of(own.getpeername()))
        except OSError:
            return None  # it listens, or was closed meanwhile


def peer_of(address: tuple[str, int] | tuple[str, int, int, int]) -> Peer:
    """The peer of a socket's address."""
    host = ip_address(address[0].partition("%")[0])
    mapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
    return str(mapped or host), address[1]


def received_bytes(connection: Connection) -> int:
    """How many bytes the peer has sent; 0 if the connection is closed."""
    info = _TcpInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    failed = _LIBC.getsockopt(
        connection.descriptor, socket.IPPROTO_TCP, socket.TCP_INFO, ctypes.byref(info), ctypes.byref(size)
    )
    return 0 if failed else int(info.bytes_received)


def disconnect(connection: Connection) -> bool:
    """Have the peer and the library see the end of the connection. False if it is closed already."""
    try:
        with socket.socket(fileno=os.dup(connection.descriptor)) as own:
            # The descriptor may belong to another socket by now.
            if os.fstat(own.fileno()).st_ino != connection.inode:
                return False
            # With a reset, because the peer need not read the end, and its unread bytes would stay in the kernel.
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            own.shutdown(socket.SHUT_RDWR)
            return True
    except OSError:
        return False
