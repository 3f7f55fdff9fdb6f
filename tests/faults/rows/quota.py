"""Rows: too few resources: CPU, memory, file descriptors, disk space, space in the log's pipe."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.faults.cgroup import cpu_quota, memory_limit
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Mode, Row
from tests.faults.rows.start import full_disk, small_disk
from tests.faults.testbed import HTTP_PORT, FaultTestbed

_UNHARMED = Expectation(Truth.HOLDS, Alive.STAYS)
_UNSURE = Expectation(Truth.EITHER, Alive.STAYS, recovers_within=20.0)
_SMALL_MEMORY = 12 << 20


def slowed(*load: object, percent: int = 5) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Limit program and judge together to this part of a CPU, optionally with load."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        with cpu_quota((testbed.pid, testbed.judge), percent=percent):
            if not load:
                yield
                return
            with testbed.load(str(load[0]), *load[1:]):
                yield

    return action


@contextlib.contextmanager
def little_memory(testbed: FaultTestbed) -> Iterator[None]:
    """Limit the further memory of program and judge, and connect 20 proxies."""
    with memory_limit((testbed.pid, testbed.judge), limit=_SMALL_MEMORY), testbed.load("hold", 20):
        yield


@contextlib.contextmanager
def few_descriptors(testbed: FaultTestbed) -> Iterator[None]:
    """Start the program with a limit of 160 file descriptors."""
    testbed.prefix = ["prlimit", "--nofile=160:160"]
    yield


@contextlib.contextmanager
def idle_connections(testbed: FaultTestbed) -> Iterator[None]:
    """Keep 400 idle TCP connections open; reopen those that are closed."""
    with testbed.load("idle", 400):
        yield


@contextlib.contextmanager
def idle_probers(testbed: FaultTestbed) -> Iterator[None]:
    """Keep 300 idle connections to the probe port open; reopen those that are closed."""
    with testbed.load("idle", 300, port=HTTP_PORT):
        yield


def _first_free(testbed: FaultTestbed) -> int:
    """The lowest free descriptor number. The limit applies to numbers: a gap below it would still serve one client."""
    testbed.hold(0.05)
    used = {int(path.name) for path in Path(f"/proc/{testbed.pid}/fd").iterdir()}
    return next(number for number in itertools.count() if number not in used)


@contextlib.contextmanager
def no_more_descriptors(testbed: FaultTestbed) -> Iterator[None]:
    """Reduce the running program's limit to its first free descriptor number."""
    limit = min(_first_free(testbed) for _ in range(20))
    testbed.run("prlimit", f"--pid={testbed.pid}", f"--nofile={limit}:20000")
    yield
    testbed.run("prlimit", f"--pid={testbed.pid}", "--nofile=20000:20000")


@contextlib.contextmanager
def unread_pipe(testbed: FaultTestbed) -> Iterator[None]:
    """Connect the program's log to a pipe without a reader."""
    reader, writer = os.pipe()
    testbed.stderr = writer
    try:
        yield
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def full_pipe(testbed: FaultTestbed) -> Iterator[None]:
    """Fill the pipe completely, and cause much logging."""
    assert testbed.stderr is not None
    # A new file description: O_NONBLOCK on the existing one would also affect the program.
    with open(f"/proc/self/fd/{testbed.stderr}", "wb", buffering=0, opener=_nonblocking) as pipe:
        for size in (65536, 1):
            while pipe.write(bytes(size)):
                pass
    with testbed.load("rejecting", 1), testbed.load("failing-tls", 1):
        yield


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    # Clearly too many: with 30 proxies a dial takes 2.6 to 3.2 s, so that some clients are served within 3 s.
    proxies, half_open = mode.count(60), mode.count(5000)
    return (
        Row(
            "few-descriptors", "limit of 160 file descriptors, 400 idle TCP connections", idle_connections, _UNSURE,
            setup=few_descriptors, duration=10.0,
        ),
        Row(
            "no-descriptors", "no file descriptors left at runtime (prlimit)", no_more_descriptors,
            Expectation(Truth.FAILS, Alive.STAYS), duration=10.0,
        ),
        Row("idle-probers", "300 idle TCP connections to the probe port", idle_probers, _UNHARMED),
        Row("cpu-5-quiet", "CPU quota of 5 %", slowed(), _UNSURE, duration=20.0, load=True, sample_interval=1.0),
        Row(
            "cpu-5-reconnects", f"CPU quota of 5 %, {proxies} proxies reconnecting", slowed("storm", proxies), _UNSURE,
            duration=20.0, load=True, sample_interval=1.0,
        ),
        Row(
            "cpu-5-failing-tls", "CPU quota of 5 %, 30 failing TLS handshakes per second", slowed("failing-tls", 30),
            _UNSURE,
            duration=20.0, load=True, sample_interval=1.0,
        ),
        # The answer to the program's own call to its ADS then takes up to 41 s.
        Row(
            "cpu-10-half-open", f"CPU quota of 10 %, {half_open} half-open TLS handshakes",
            slowed("half-open", half_open, percent=10), _UNSURE, duration=50.0, load=True, sample_interval=1.0,
        ),
        Row("memory-close", "memory limit 12 MB above current use, 20 more proxies", little_memory, _UNHARMED),
        Row(
            "stderr-blocked", "stderr is a full pipe without a reader, heavy logging", full_pipe, _UNHARMED,
            setup=unread_pipe,
        ),
        Row("disk-full", "disk of the CA folder full at runtime", full_disk, _UNHARMED, setup=small_disk),
    )  # fmt: skip
