"""Rows: misbehaving proxies, and invalid objects in the mesh."""

import contextlib
from collections.abc import Iterator

from osm_probes.mesh.ports import DEBUG_PORT
from tests.faults import injected_code
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.testbed import HTTP_PORT, FaultTestbed

_CAPACITY = 40


@contextlib.contextmanager
def broken_manifest(testbed: FaultTestbed) -> Iterator[None]:
    """Truncate a manifest."""
    file = testbed.mesh / "bookstore.yaml"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2] + "\n  broken: [")
    yield
    file.write_text(whole)


@contextlib.contextmanager
def rejecting_proxy(testbed: FaultTestbed) -> Iterator[None]:
    """One proxy rejects (NACK) every response."""
    with testbed.load("rejecting", 1):
        yield


@contextlib.contextmanager
def stalled_proxy(testbed: FaultTestbed) -> Iterator[None]:
    """One proxy stops reading for longer than the write timeout; its stream must end, so that it can connect again."""
    with testbed.load("stalled", 1) as process:
        yield
        if (
            testbed.eventually(lambda: process.poll() is not None, what="the stalled proxy", within=5)
            and process.poll()
        ):
            raise FaultError(testbed.last_line("load.log"))


@contextlib.contextmanager
def no_build_for_one(testbed: FaultTestbed) -> Iterator[None]:
    """The bookstore's snapshot build fails when the mesh changes; the only effect must be a warning."""
    with testbed.load("bookstore", 1):
        testbed.execute(injected_code.break_builds(of="bookstore"))
        _touch(testbed)
        yield
        anybody, operator = (
            testbed.run("curl", "-s", "--max-time", "5", f"http://127.0.0.1:{port}/health/ready?verbose")
            for port in (HTTP_PORT, DEBUG_PORT)
        )
        if not testbed.logged("a snapshot cannot be built"):
            raise FaultError("the fault did no harm: the bookstore's snapshot was built")
        testbed.execute(injected_code.RESTORE_BUILDS)
        _touch(testbed)
        if "last good configuration is served: 1\n" not in anybody or "bookstore" in anybody:
            raise FaultError("?verbose has no warning that a snapshot cannot be built, or it names the identity")
        if "bookstore" not in operator:
            raise FaultError("the debug port does not name the identity whose snapshot cannot be built")


@contextlib.contextmanager
def no_builds_from_start(testbed: FaultTestbed) -> Iterator[None]:
    """Every snapshot build fails, from the start."""
    testbed.execute(injected_code.break_builds(of=""))
    yield
    testbed.execute(injected_code.RESTORE_BUILDS)
    _touch(testbed)


def _touch(testbed: FaultTestbed) -> None:
    file = testbed.mesh / "mesh.yaml"
    text = file.read_text()
    new = (
        text.replace("logLevel: error", "logLevel: warn")
        if "logLevel: error" in text
        else text.replace("logLevel: warn", "logLevel: error")
    )
    file.write_text(new)


@contextlib.contextmanager
def capacity_reached(testbed: FaultTestbed) -> Iterator[None]:
    """Connect as many proxies as the limit permits, and keep them connected."""
    with testbed.load("hold", _CAPACITY):
        yield


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    return (
        Row("rejecting-proxy", "one proxy rejects (NACK) everything", rejecting_proxy, unharmed),
        Row("stalled-proxy", "one proxy stops reading for 13 s", stalled_proxy, unharmed, duration=16.0),
        Row("build-fails-for-one", "snapshot build fails for one identity", no_build_for_one, unharmed),
        Row(
            "build-fails-for-all", "snapshot build fails for every identity, from the start", no_builds_from_start,
            Expectation(Truth.FAILS, Alive.STAYS), at_start=True, duration=10.0,
        ),
        Row("manifest-broken", "a manifest becomes invalid at runtime", broken_manifest, unharmed),
        Row(
            "capacity-reached", f"maximum of {_CAPACITY} proxies connected", capacity_reached,
            Expectation(Truth.FAILS, Alive.STAYS), flags=(f"--max-data-plane-connections={_CAPACITY}",),
        ),
    )  # fmt: skip
