"""Too little of what the machine has: processor time, memory, descriptors, disk, room in the log's pipe."""

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
from tests.faults.stage import HTTP_PORT, Stage

_UNHARMED = Expectation(Truth.HOLDS, Alive.STAYS)
_UNSURE = Expectation(Truth.EITHER, Alive.STAYS, recovers_within=20.0)
_SMALL_MEMORY = 12 << 20


def slowed(*load: object) -> Callable[[Stage], AbstractContextManager[None]]:
    """Program and judge have 5 % of a CPU together, perhaps under a load."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        with cpu_quota((stage.pid, stage.judge), percent=5):
            if not load:
                yield
                return
            with stage.load(str(load[0]), *load[1:]):
                yield

    return act


@contextlib.contextmanager
def little_memory(stage: Stage) -> Iterator[None]:
    """What program and judge may still allocate is little; 20 proxies come."""
    with memory_limit((stage.pid, stage.judge), limit=_SMALL_MEMORY), stage.load("hold", 20):
        yield


@contextlib.contextmanager
def few_descriptors(stage: Stage) -> Iterator[None]:
    """The program starts with 160 descriptors."""
    stage.around = ["prlimit", "--nofile=160:160"]
    yield


@contextlib.contextmanager
def idlers(stage: Stage) -> Iterator[None]:
    """400 idle TCP connections, opened again when closed."""
    with stage.load("idle", 400):
        yield


@contextlib.contextmanager
def idle_probers(stage: Stage) -> Iterator[None]:
    """300 clients of the probes' port that say nothing, again and again."""
    with stage.load("idle", 300, port=HTTP_PORT):
        yield


def _first_free(stage: Stage) -> int:
    """The lowest number that is free: a limit counts numbers, and with a gap below it a client at a time is served."""
    stage.hold(0.05)
    taken = {int(each.name) for each in Path(f"/proc/{stage.pid}/fd").iterdir()}
    return next(number for number in itertools.count() if number not in taken)


@contextlib.contextmanager
def no_more_descriptors(stage: Stage) -> Iterator[None]:
    """The running program's limit is cut to the first number that is free between two clients."""
    limit = min(_first_free(stage) for _ in range(20))
    stage.run("prlimit", f"--pid={stage.pid}", f"--nofile={limit}:20000")
    yield
    stage.run("prlimit", f"--pid={stage.pid}", "--nofile=20000:20000")


@contextlib.contextmanager
def deaf_pipe(stage: Stage) -> Iterator[None]:
    """The log goes into a pipe that nobody reads."""
    reader, writer = os.pipe()
    stage.stderr = writer
    try:
        yield
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def full_pipe(stage: Stage) -> Iterator[None]:
    """The pipe is filled to its last byte, and there is much to log."""
    assert stage.stderr is not None
    # Opened anew: O_NONBLOCK on the program's own end would be the program's too.
    with open(f"/proc/self/fd/{stage.stderr}", "wb", buffering=0, opener=_nonblocking) as pipe:
        for size in (65536, 1):
            while pipe.write(bytes(size)):
                pass
    with stage.load("refusing", 1), stage.load("failing-tls", 1):
        yield


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    # Clearly too many: with 30 a dial takes 2.6 to 3.2 s, so that of two that ask at once one is served in its 3 s.
    proxies = mode.count(60)
    return (
        Row(
            "few-descriptors", "160 descriptors from the start, 400 idle TCP connections", idlers, _UNSURE,
            setup=few_descriptors, lasts=10.0,
        ),
        Row(
            "no-descriptors", "no descriptor left while it runs (prlimit)", no_more_descriptors,
            Expectation(Truth.FAILS, Alive.STAYS), lasts=10.0,
        ),
        Row("idle-probers", "300 idle TCP connections on the probes' port", idle_probers, _UNHARMED),
        Row("cpu-5-quiet", "CPU quota of 5 %", slowed(), _UNSURE, lasts=20.0, load=True, every=1.0),
        Row(
            "cpu-5-reconnects", f"CPU quota of 5 %, {proxies} proxies reconnect", slowed("storm", proxies), _UNSURE,
            lasts=20.0, load=True, every=1.0,
        ),
        Row(
            "cpu-5-failing-tls", "CPU quota of 5 %, 30 clients a second fail TLS", slowed("failing-tls", 30), _UNSURE,
            lasts=20.0, load=True, every=1.0,
        ),
        Row("memory-close", "memory limit 12 MB above what it has, 20 more proxies", little_memory, _UNHARMED),
        Row(
            "stderr-blocked", "stderr is a full pipe that nobody reads, and much is logged", full_pipe, _UNHARMED,
            setup=deaf_pipe,
        ),
        Row("disk-full", "disk full for the CA folder while it runs", full_disk, _UNHARMED, setup=small_disk),
    )  # fmt: skip
