"""Address and port -> a listening socket."""

import errno
import socket
from typing import Final

from osm_probes.foundation.errors import OsmError

BACKLOG: Final = 1024

_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


class AddressInUseError(OsmError):
    """Another process listens on the port."""


class SocketLostError(OsmError):
    """A listening socket was destroyed from outside."""


class UnusableAddressError(OsmError):
    """The address is not one of this machine, or this user may not use the port."""


def listen(port: int, *, address: str = "") -> socket.socket:
    """Listen on all addresses, IPv4 and IPv6 (only IPv4 where IPv6 is off), or on the IP address given.

    Port 0 means any free port. Raises AddressInUseError, UnusableAddressError.
    """
    family = socket.AF_INET if address and ":" not in address else socket.AF_INET6
    try:
        try:
            return _bound(family, address or "::", port)
        except OSError as error:
            if address or error.errno not in _NO_FAMILY:
                raise
            return _bound(socket.AF_INET, "0.0.0.0", port)  # IPv6 is off
    except OSError as error:
        where = f"{address or 'all addresses'}, port {port}"
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(f"cannot listen on {where}: another process listens there") from error
        raise UnusableAddressError(f"cannot listen on {where}: {error.strerror or error}") from error


def listen_on_loopback(port: int) -> socket.socket:
    """Listen on 127.0.0.1, or on ::1 where only that exists. Port 0 means any free port. Raises like `listen`."""
    try:
        return listen(port, address="127.0.0.1")
    except UnusableAddressError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_FAMILY:
            return listen(port, address="::1")
        raise


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.settimeout(0.0)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def listens(listener: socket.socket) -> bool:
    """Whether the socket still listens: it does not after it was destroyed from outside, as by `ss -K`."""
    return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def listen_again(lost: socket.socket) -> socket.socket:
    """A new socket on the address and port of one that was destroyed, which is closed. Raises as `listen` does."""
    address, port = lost.getsockname()[:2]
    new = listen(port, address="" if address in {"::", "0.0.0.0"} else address)
    lost.close()
    return new
