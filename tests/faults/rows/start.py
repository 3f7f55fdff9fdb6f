"""Faults that are there before the program is."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Mode, Row
from tests.faults.rows.mesh import broken_manifest
from tests.faults.stage import Stage

FATAL = Expectation(Truth.FAILS, Alive.SILENT, ends=1)


@contextlib.contextmanager
def unreadable_ca(stage: Stage) -> Iterator[None]:
    """The root certificate's file is a folder."""
    (stage.ca / "ca.crt").unlink()
    (stage.ca / "ca.crt").mkdir()
    yield


@contextlib.contextmanager
def no_ca(stage: Stage) -> Iterator[None]:
    """Nobody has made the CA yet."""
    for file in stage.ca.iterdir():
        file.unlink()
    yield


@contextlib.contextmanager
def locked_ca(stage: Stage) -> Iterator[None]:
    """Another process makes the CA, and takes its time."""
    descriptor = os.open(stage.ca, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def small_disk(stage: Stage) -> Iterator[None]:
    """The CA's folder is an empty disk of 64 KB."""
    with stage.disk(stage.ca, size="64k"):
        yield


@contextlib.contextmanager
def full_disk(stage: Stage) -> Iterator[None]:
    """The disk of the CA's folder has no byte left."""
    with (stage.ca / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    (stage.ca / "filler").unlink()


@contextlib.contextmanager
def full_disk_at_start(stage: Stage) -> Iterator[None]:
    """The same, until a program that found it so has ended, however long its start takes."""
    with full_disk(stage):
        yield
        stage.until_ended(within=20)


@contextlib.contextmanager
def taken_port(stage: Stage) -> Iterator[None]:
    """Another process listens on the program's port, and answers nobody."""

    def listening() -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", stage.port))
        listener.listen()
        return listener

    with stage.place.inside(listening):
        yield


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    return (
        Row("ca-unreadable", "CA folder unreadable at start: ca.crt is a folder", unreadable_ca, FATAL, at_start=True),
        Row(
            "no-ca-yet", "no CA yet: another process holds the folder's lock", locked_ca,
            Expectation(Truth.FAILS, Alive.SILENT), setup=no_ca, at_start=True,
        ),
        Row(
            "mesh-not-synced", "CA there, mesh not synced: a manifest is half written", broken_manifest,
            Expectation(Truth.FAILS, Alive.STAYS), at_start=True,
        ),
        Row("ads-port-taken", "ADS port taken before start", taken_port, FATAL, at_start=True),
        Row(
            "disk-full-at-start", "disk full for the CA folder at start", full_disk_at_start, FATAL, setup=small_disk,
            at_start=True,
        ),
    )  # fmt: skip
