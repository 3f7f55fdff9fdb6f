"""What clients do to a program. Run as a process: `KIND PORT CA ARGUMENTS…`; it prints "up" and goes on until ended."""

import asyncio
import contextlib
import os
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import proxies

_HOST = "127.0.0.1"


def main() -> None:
    """Make one kind of load."""
    kind, port, ca, *rest = sys.argv[1:]
    counts = [int(each) for each in rest]
    if kind in _SOCKETS:
        _SOCKETS[kind](int(port), *counts)
    else:
        asyncio.run(proxies.KINDS[kind](int(port), Path(ca), *counts))


def up() -> None:
    """Say that the load is there."""
    os.write(1, b"up\n")


def idle(port: int, count: int) -> None:
    """So many TCP connections that say nothing; one that is closed is opened again."""
    _keep(port, count, first=b"")


def half_open(port: int, count: int) -> None:
    """So many TLS handshakes that stop after the client's hello."""
    _keep(port, count, first=_client_hello())


def garbage(port: int, count: int) -> None:
    """So many connections that send bytes of no protocol."""
    _keep(port, count, first=os.urandom(4096))


def _keep(port: int, count: int, *, first: bytes) -> None:
    selector = selectors.DefaultSelector()
    for _ in range(count):
        selector.register(_opened(port, first), selectors.EVENT_READ)
    up()
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            with contextlib.suppress(OSError):
                if key.fileobj.recv(65536):
                    continue
            selector.unregister(key.fileobj)
            key.fileobj.close()
            selector.register(_opened(port, first), selectors.EVENT_READ)


def _opened(port: int, first: bytes) -> socket.socket:
    while True:
        with contextlib.suppress(OSError):
            connection = socket.create_connection((_HOST, port), 5)
            connection.sendall(first)
            return connection
        time.sleep(0.05)


def closed_at_once(port: int, count: int, rounds: int) -> None:
    """So many connections that are closed without a handshake, in so many rounds."""
    for _ in range(rounds):
        connections = [_opened(port, b"") for _ in range(count)]
        for connection in connections:
            connection.close()
    up()
    time.sleep(3600)


def slow(port: int, count: int) -> None:
    """So many requests of HTTP over TLS that send one byte a second (slow loris)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def opened() -> ssl.SSLSocket:
        while True:
            with contextlib.suppress(OSError):
                return context.wrap_socket(_opened(port, b""))
            time.sleep(0.05)

    connections = [opened() for _ in range(count)]
    up()
    while True:
        for index, connection in enumerate(connections):
            try:
                connection.sendall(b"P")
            except OSError:
                connection.close()
                connections[index] = opened()
        time.sleep(1.0)


def _client_hello() -> bytes:
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="osm-controller.osm-system.svc")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


_SOCKETS: dict[str, Callable[..., None]] = {
    "idle": idle,
    "half-open": half_open,
    "garbage": garbage,
    "closed-at-once": closed_at_once,
    "slow": slow,
}

if __name__ == "__main__":
    main()
