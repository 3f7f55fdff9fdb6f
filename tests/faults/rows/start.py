"""Rows: faults that exist before the program starts."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Mode, Row
from tests.faults.rows.mesh import broken_manifest
from tests.faults.testbed import FaultTestbed

FATAL = Expectation(Truth.FAILS, Alive.SILENT, ends=1)


@contextlib.contextmanager
def unreadable_ca(testbed: FaultTestbed) -> Iterator[None]:
    """Replace the root certificate's file with a directory."""
    (testbed.ca / "ca.crt").unlink()
    (testbed.ca / "ca.crt").mkdir()
    yield


@contextlib.contextmanager
def no_ca(testbed: FaultTestbed) -> Iterator[None]:
    """Remove the CA."""
    for file in testbed.ca.iterdir():
        file.unlink()
    yield


@contextlib.contextmanager
def locked_ca(testbed: FaultTestbed) -> Iterator[None]:
    """Hold the lock of the CA folder, as a process that is creating the CA does."""
    descriptor = os.open(testbed.ca, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def small_disk(testbed: FaultTestbed) -> Iterator[None]:
    """Mount an empty file system of 64 KB on the CA folder."""
    with testbed.disk(testbed.ca, size="64k"):
        yield


@contextlib.contextmanager
def full_disk(testbed: FaultTestbed) -> Iterator[None]:
    """Fill the file system of the CA folder completely."""
    with (testbed.ca / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    (testbed.ca / "filler").unlink()


@contextlib.contextmanager
def full_disk_at_start(testbed: FaultTestbed) -> Iterator[None]:
    """The same, until a program that finds it in this state has exited, however long its start takes."""
    with full_disk(testbed):
        yield
        testbed.until_ended(within=20)


@contextlib.contextmanager
def port_in_use(testbed: FaultTestbed) -> Iterator[None]:
    """Listen on the program's port and never accept a connection."""

    def listening() -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", testbed.port))
        listener.listen()
        return listener

    with testbed.netns.inside(listening):
        yield


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    return (
        Row("ca-unreadable", "CA unreadable at start: ca.crt is a directory", unreadable_ca, FATAL, at_start=True),
        Row(
            "no-ca-yet", "no CA yet: another process holds the CA folder's lock", locked_ca,
            Expectation(Truth.FAILS, Alive.SILENT), setup=no_ca, at_start=True,
        ),
        Row(
            "mesh-not-synced", "CA exists, mesh not synced: a manifest is incomplete", broken_manifest,
            Expectation(Truth.FAILS, Alive.STAYS), at_start=True,
        ),
        Row("ads-port-taken", "ADS port in use before the start", port_in_use, FATAL, at_start=True),
        Row(
            "disk-full-at-start", "disk of the CA folder full at start", full_disk_at_start, FATAL, setup=small_disk,
            at_start=True,
        ),
    )  # fmt: skip
