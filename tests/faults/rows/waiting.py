"""Rows: proxies wait for their first configuration, or for a change."""

import contextlib
from collections.abc import Iterator
from typing import Final

from tests.faults import injected_code
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.identity import crowd_manifest
from tests.faults.row import Action, Mode, Row, executing
from tests.faults.testbed import FaultTestbed

_UPDATES_LIMIT: Final = 4
_CROWD: Final = 100
"""Identities that connect at once."""


def following(testbed: FaultTestbed) -> contextlib.AbstractContextManager[None]:
    """The truth is told by a proxy that stays connected and expects each change within the limit."""
    testbed.follower_limit = _UPDATES_LIMIT
    return contextlib.nullcontext()


def large_mesh(services: int) -> Action:
    """A mesh of so many services, with 100 identities."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        for name, text in crowd_manifest(services, identities=_CROWD):
            (testbed.mesh / name).write_text(text)
        yield

    return action


@contextlib.contextmanager
def crowd(testbed: FaultTestbed) -> Iterator[None]:
    """100 proxies with an identity each connect at once, and stay."""
    with testbed.load("crowd", _CROWD):
        yield


def services_added(services: int) -> Action:
    """So many services are added to a mesh with 100 connected identities."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        with crowd(testbed):
            testbed.hold(3)
            with large_mesh(services)(testbed):
                yield

    return action


@contextlib.contextmanager
def steady_change(testbed: FaultTestbed) -> Iterator[None]:
    """20 changes a second."""
    with testbed.load("changes", 20):
        yield


@contextlib.contextmanager
def emptied_folder(testbed: FaultTestbed) -> Iterator[None]:
    """All manifests disappear, as when a mount is gone."""
    files = {path: path.read_bytes() for path in testbed.mesh.iterdir() if path.is_file()}
    for path in files:
        path.unlink()
    yield
    for path, content in files.items():
        path.write_bytes(content)


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    harmed = Expectation(Truth.FAILS, Alive.STAYS)
    either = Expectation(Truth.EITHER, Alive.STAYS, recovers_within=60.0)
    limit = (f"--updates-limit={_UPDATES_LIMIT}",)
    return (
        Row(
            "build-hangs", "the build of snapshots hangs; new proxies",
            executing(injected_code.HANG_BUILDS, undo=injected_code.RELEASE_BUILDS), harmed, duration=12.0,
        ),
        Row(
            "build-hangs-connected", "the build of snapshots hangs; a connected proxy",
            executing(injected_code.HANG_BUILDS, undo=injected_code.RELEASE_BUILDS), harmed,
            setup=following, flags=limit, duration=15.0,
        ),
        Row(
            "executor-full", "all threads of the default executor are busy; new proxies",
            executing(injected_code.FILL_DEFAULT_EXECUTOR, undo=injected_code.EMPTY_DEFAULT_EXECUTOR), unharmed,
            duration=10.0,
        ),
        Row(
            "executor-full-connected", "all threads of the default executor are busy; a connected proxy",
            executing(injected_code.FILL_DEFAULT_EXECUTOR, undo=injected_code.EMPTY_DEFAULT_EXECUTOR), harmed,
            setup=following, flags=limit, duration=15.0,
        ),
        Row(
            "streams-not-woken", "streams do not notice new snapshots; a connected proxy",
            executing(injected_code.STOP_BROADCAST, undo=injected_code.RESTORE_BROADCAST), harmed, setup=following,
            flags=limit, duration=15.0,
        ),
        Row(
            "folder-hangs", "the mesh folder does not answer; a connected proxy",
            executing(injected_code.HANG_FOLDER, undo=injected_code.RELEASE_FOLDER), harmed,
            setup=following, flags=limit, duration=15.0,
        ),
        Row(
            "mesh-tasks-cancelled", "the tasks that read, build and follow the mesh are cancelled; a connected proxy",
            executing(injected_code.CANCEL_TASKS_OF_THE_MESH, undo=injected_code.CANCEL_TASKS_OF_THE_MESH), unharmed,
            setup=following, flags=limit, duration=10.0,
        ),
        Row("mesh-emptied", "all manifests of the mesh folder disappear", emptied_folder, unharmed),
        Row(
            "restart-1000-services", "start with 1,000 services while 100 identities connect", crowd,
            either, setup=large_mesh(1000), at_start=True, duration=20.0, load=True,
        ),
        Row(
            "restart-3000-services", "start with 3,000 services while 100 identities connect", crowd,
            either, setup=large_mesh(3000), at_start=True, duration=40.0, load=True,
        ),
        Row(
            "3000-services-added", "3,000 services are added; 100 identities are connected", services_added(3000),
            either, setup=large_mesh(100), duration=40.0, load=True,
        ),
        Row(
            "steady-change", "20 changes a second; a connected proxy", steady_change, unharmed, setup=following,
            flags=limit, duration=300.0 if mode.divisor == 1 else 30.0, load=True,
        ),
    )  # fmt: skip
