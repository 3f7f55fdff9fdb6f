"""Clients that load a program, as a process: `KIND PORT CA COUNTS…`. It prints "up" and runs until it is killed."""

import asyncio
import contextlib
import itertools
import os
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

from osm_probes.mesh.ports import REVIEW_PATH
from tests.faults import floods, proxies

_HOST = "127.0.0.1"
_MOST_OPEN = 10_000


def main() -> None:
    """Run one kind of load."""
    kind, port, ca, *rest = sys.argv[1:]
    counts = [int(count) for count in rest]
    if kind in _SOCKETS:
        _SOCKETS[kind](int(port), *counts)
    else:
        asyncio.run((proxies.KINDS | floods.KINDS)[kind](int(port), Path(ca), *counts))


def report_up() -> None:
    """Print that the load is complete."""
    os.write(1, b"up\n")


def idle(port: int, count: int) -> None:
    """Open `count` TCP connections that send nothing; reopen those that are closed."""
    _keep(port, count, first=b"")


def requests(port: int, rate: int) -> None:
    """Open `rate` connections a second; three of four send a request for liveness, the others half of its head."""
    head = b"GET /health/alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    selector = selectors.DefaultSelector()
    os.nice(-10)  # or the spinning processes of a row would slow it down
    report_up()
    due = time.monotonic()
    for number in itertools.count():
        with contextlib.suppress(OSError):
            connection = socket.socket()
            connection.settimeout(0.0)
            connection.connect_ex((_HOST, port))
            selector.register(connection, selectors.EVENT_WRITE, head if number % 4 else head[:20])
        due = max(due + 1 / rate, time.monotonic() - 1)
        while (left := due - time.monotonic()) > 0 or len(selector.get_map()) > _MOST_OPEN:
            _advance(selector, wait=max(0.0, left))


def _advance(selector: selectors.BaseSelector, *, wait: float) -> None:
    for key, _ in selector.select(wait):
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        try:
            if key.data:
                connection.send(key.data)
                selector.modify(connection, selectors.EVENT_READ, b"")
                continue
            if connection.recv(65536):
                continue
        except OSError:
            pass
        selector.unregister(connection)
        connection.close()


def spin(_port: int) -> None:
    """Take all of a processor that the system gives."""
    report_up()
    while True:
        pass


def half_open(port: int, count: int) -> None:
    """Open `count` TLS handshakes that stop after the ClientHello."""
    _keep(port, count, first=_client_hello())


def garbage(port: int, count: int) -> None:
    """Open `count` connections that send random bytes."""
    _keep(port, count, first=os.urandom(4096))


def _keep(port: int, count: int, *, first: bytes) -> None:
    selector = selectors.DefaultSelector()
    for _ in range(count):
        selector.register(_open_connection(port, first), selectors.EVENT_READ)
    report_up()
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            with contextlib.suppress(OSError):
                if key.fileobj.recv(65536):
                    continue
            selector.unregister(key.fileobj)
            key.fileobj.close()
            selector.register(_open_connection(port, first), selectors.EVENT_READ)


def _open_connection(port: int, first: bytes) -> socket.socket:
    while True:
        with contextlib.suppress(OSError):
            connection = socket.create_connection((_HOST, port), 5)
            connection.sendall(first)
            return connection
        time.sleep(0.05)


def closed_at_once(port: int, count: int, rounds: int) -> None:
    """Open `count` connections and close them without a handshake; repeat this `rounds` times."""
    for _ in range(rounds):
        connections = [_open_connection(port, b"") for _ in range(count)]
        for connection in connections:
            connection.close()
    report_up()
    time.sleep(3600)


def slow(port: int, count: int) -> None:
    """Send `count` HTTP requests over TLS at one byte per second (slow loris)."""
    _send_slowly(port, count, first=b"", piece=b"P", every=1.0)


def slow_bodies(port: int, count: int) -> None:
    """Send `count` reviews of 3 MiB over TLS at 640 KiB per second, so that none is complete within 3 s."""
    size = 3 * 1024 * 1024
    head = f"POST {REVIEW_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    _send_slowly(port, count, first=head.encode(), piece=b" " * 65536, every=0.1)


def _send_slowly(port: int, count: int, *, first: bytes, piece: bytes, every: float) -> None:
    """Send `first` and then a piece at an interval on each connection; reopen those that are closed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def opened() -> ssl.SSLSocket:
        while True:
            with contextlib.suppress(OSError):
                connection = context.wrap_socket(_open_connection(port, b""))
                connection.sendall(first)
                return connection
            time.sleep(0.05)

    connections = [opened() for _ in range(count)]
    report_up()
    while True:
        due = time.monotonic() + every
        for index, connection in enumerate(connections):
            try:
                connection.sendall(piece)
            except OSError:
                connection.close()
                connections[index] = opened()
        time.sleep(max(0.0, due - time.monotonic()))


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
    "requests": requests,
    "spin": spin,
    "garbage": garbage,
    "closed-at-once": closed_at_once,
    "slow": slow,
    "slow-bodies": slow_bodies,
}

if __name__ == "__main__":
    main()
