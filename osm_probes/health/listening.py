"""Whether the own listening socket still exists, by the kernel's tables of sockets.

A connection would not tell: another process on the port could accept it, a firewall could refuse it, and each one costs
the server. A library such as grpc reports nothing when its listening socket is destroyed from outside.
"""

import asyncio
from collections.abc import Container, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from osm_probes.foundation.logs import logger

# Most libraries listen with an IPv6 socket where IPv6 is on, so the second table is rarely read.
_TABLES: Final = (Path("/proc/self/net/tcp6"), Path("/proc/self/net/tcp"))
_LISTEN: Final = b"0A"
_ALL: Final = frozenset({"0.0.0.0", "::ffff:0.0.0.0", "::"})
_LOOKS: Final = 2


def owner(table: Iterable[bytes], *, among: Container[bytes]) -> int | None:
    """The inode of the socket that listens on one of these addresses, by a table such as /proc/net/tcp; or None.

    Fields: https://docs.kernel.org/networking/proc_net_tcp.html
    """
    for line in table:
        fields = line.split()
        if fields[3] == _LISTEN and fields[1] in among:
            return int(fields[9])
    return None


def kernel_forms(host: str, port: int) -> frozenset[bytes]:
    """An IP address and a port in the forms of the tables: hexadecimal words in the machine's byte order.

    A library may listen on an IPv4 address with an IPv6 socket, and on all addresses with either.
    """
    hosts = {host, f"::ffff:{host}"} if ":" not in host else {host}
    if ip_address(host).is_unspecified:
        hosts |= _ALL
    return frozenset(_kernel_form(each, port) for each in hosts)


def _kernel_form(host: str, port: int) -> bytes:
    words = memoryview(ip_address(host).packed).cast("I")
    return "".join([*(f"{word:08X}" for word in words), f":{port:04X}"]).encode()


class OwnSocket:
    """The socket of this process that listens on an IP address. `claim` remembers its inode."""

    def __init__(self, host: str, port: int, *, tables: Sequence[Path] = _TABLES) -> None:
        self._address = {"host": host, "port": port}
        self._among = kernel_forms(host, port)
        self._tables = [table for table in tables if table.exists()]  # without IPv6 there is one
        self._inode: int | None = None

    def claim(self) -> None:
        """Remember the socket that listens now. Call it after each bind."""
        self._inode = None
        self.listens()
        if self._inode is None:
            logger("health").warning(
                "the listening socket is in no table: its loss would go unnoticed", **self._address
            )

    def listens(self) -> bool:
        """Whether the socket still exists. True if the tables cannot be read, as without a free file descriptor."""
        try:
            found = self._look()
        except OSError:
            return True
        self._inode = self._inode or found
        return found == self._inode

    async def lost(self, *, every: float) -> None:
        """Wait until the socket is missing twice in a row: during a hand-over it is missing for a moment."""
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
