"""Health: whether one's own socket still listens: looked up in the kernel's table, which never lies about it.

Not by a dial: another process on the port would answer it, a firewall would refuse it, and each one costs the server a
connection. A library such as grpc says nothing when its listening socket is destroyed from outside.
"""

import asyncio
from collections.abc import Container, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from osm_probes.foundation.logs import logger

# Where IPv6 is on, most libraries' sockets are of IPv6: what is found in the first table spares the walk of the other.
_TABLES: Final = (Path("/proc/self/net/tcp6"), Path("/proc/self/net/tcp"))
_LISTEN: Final = b"0A"
_ALL: Final = frozenset({"0.0.0.0", "::ffff:0.0.0.0", "::"})
_LOOKS: Final = 2


def owner(table: Iterable[bytes], *, among: Container[bytes]) -> int | None:
    """The inode of the socket that listens on one of these addresses, as /proc/net/tcp tells it; None: there is none.

    Fields: https://docs.kernel.org/networking/proc_net_tcp.html
    """
    for line in table:
        fields = line.split()
        if fields[3] == _LISTEN and fields[1] in among:
            return int(fields[9])
    return None


def kernel_forms(host: str, port: int) -> frozenset[bytes]:
    """A literal address and a port as the tables may write them: words of the machine's byte order in hexadecimal.

    A library may listen on an IPv4 address by a socket of IPv6, and take either "all" for both.
    """
    hosts = {host, f"::ffff:{host}"} if ":" not in host else {host}
    if ip_address(host).is_unspecified:
        hosts |= _ALL
    return frozenset(_kernel_form(each, port) for each in hosts)


def _kernel_form(host: str, port: int) -> bytes:
    words = memoryview(ip_address(host).packed).cast("I")
    return "".join([*(f"{word:08X}" for word in words), f":{port:04X}"]).encode()


class OwnSocket:
    """The socket of this process that listens on a literal address; known by its inode from `claim` on."""

    def __init__(self, host: str, port: int) -> None:
        self._address = {"host": host, "port": port}
        self._among = kernel_forms(host, port)
        self._tables = [table for table in _TABLES if table.exists()]  # without IPv6 there is one
        self._inode: int | None = None

    def claim(self) -> None:
        """The socket that listens there now is ours: call it after each bind."""
        self._inode = None
        self.listens()
        if self._inode is None:
            logger("health").warning("the listening socket is in no table: its loss would not be seen", **self._address)

    def listens(self) -> bool:
        """Whether it is still there. A table that cannot be read, such as without a descriptor left, is no news."""
        try:
            found = self._look()
        except OSError:
            return True
        self._inode = self._inode or found
        return found == self._inode

    async def lost(self, *, every: float) -> None:
        """Wait until it is missing at two looks on end: between a server and its successor it is for a moment."""
        missing = 0
        while missing < _LOOKS:
            await asyncio.sleep(every)
            missing = 0 if self.listens() else missing + 1

    def _look(self) -> int | None:
        for path in self._tables:
            with path.open("rb") as table:
                if (found := owner(table, among=self._among)) is not None:
                    return found
        return None
