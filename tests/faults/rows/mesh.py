"""What proxies and the mesh's contents can do to others."""

import contextlib
from collections.abc import Iterator

from tests.faults import orders
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.stage import HTTP_PORT, Stage

_CAPACITY = 40


@contextlib.contextmanager
def broken_manifest(stage: Stage) -> Iterator[None]:
    """Half of a manifest is there."""
    file = stage.mesh / "bookstore.yaml"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2] + "\n  broken: [")
    yield
    file.write_text(whole)


@contextlib.contextmanager
def refusing_proxy(stage: Stage) -> Iterator[None]:
    """One proxy NACKs everything."""
    with stage.load("refusing", 1):
        yield


@contextlib.contextmanager
def stalled_proxy(stage: Stage) -> Iterator[None]:
    """One proxy takes nothing for longer than a write may last; its stream must be ended, so that it comes again."""
    with stage.load("stalled", 1) as process:
        yield
        if stage.eventually(lambda: process.poll() is not None, what="the stalled proxy", within=5) and process.poll():
            raise FaultError(stage.last_line("load.log"))


@contextlib.contextmanager
def no_build_for_one(stage: Stage) -> Iterator[None]:
    """The bookstore, which has a proxy, cannot be built any more when the mesh changes: a warning is all."""
    with stage.load("bookstore", 1):
        stage.order(orders.break_builds(of="bookstore"))
        _touch(stage)
        yield
        said = stage.run("curl", "-s", "--max-time", "5", f"http://127.0.0.1:{HTTP_PORT}/health/ready?verbose")
        if not stage.logged("a snapshot cannot be built"):
            raise FaultError("the fault did no harm: the bookstore was built")
        stage.order(orders.MEND_BUILDS)
        _touch(stage)
        if "bookstore" not in said:
            raise FaultError("?verbose does not warn that the bookstore cannot be built")


@contextlib.contextmanager
def no_builds_from_start(stage: Stage) -> Iterator[None]:
    """No snapshot can be built from the start on."""
    stage.order(orders.break_builds(of=""))
    yield
    stage.order(orders.MEND_BUILDS)
    _touch(stage)


def _touch(stage: Stage) -> None:
    file = stage.mesh / "mesh.yaml"
    text = file.read_text()
    new = (
        text.replace("logLevel: error", "logLevel: warn")
        if "logLevel: error" in text
        else text.replace("logLevel: warn", "logLevel: error")
    )
    file.write_text(new)


@contextlib.contextmanager
def full_house(stage: Stage) -> Iterator[None]:
    """As many proxies as there are places, and they stay."""
    with stage.load("hold", _CAPACITY):
        yield


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    return (
        Row("refusing-proxy", "one proxy NACKs everything", refusing_proxy, unharmed),
        Row("stalled-proxy", "one proxy takes nothing for 13 s, then reads again", stalled_proxy, unharmed, lasts=16.0),
        Row("build-fails-for-one", "the build raises for one identity", no_build_for_one, unharmed),
        Row(
            "build-fails-for-all", "the build raises for every identity, from the start", no_builds_from_start,
            Expectation(Truth.FAILS, Alive.STAYS), at_start=True, lasts=10.0,
        ),
        Row("manifest-broken", "a manifest becomes unreadable while it runs", broken_manifest, unharmed),
        Row(
            "capacity-reached", f"all {_CAPACITY} places for proxies taken", full_house,
            Expectation(Truth.FAILS, Alive.STAYS), flags=(f"--max-data-plane-connections={_CAPACITY}",),
        ),
    )  # fmt: skip
