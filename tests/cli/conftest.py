"""Fixtures of the tests of commands: running control planes, and API servers."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.cli.command_result import run_osm
from tests.cli.running_control_plane import RunningControlPlane, running_control_plane
from tests.cli.verify_faults import HEALTHY, VERIFY, verify
from tests.kubernetes.conftest import api_server, own_api_server
from tests.standin import until

__all__ = ["api_server", "own_api_server"]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningControlPlane]:
    """A shared control plane. Restore what you change; its logs and Events may contain traces of other tests."""
    with running_control_plane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="package")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningControlPlane]:
    """A shared control plane in which `osm verify` finds nothing, not even a warning. Restore what you change."""
    with running_control_plane(tmp_path_factory.mktemp("verified")) as running:
        with contextlib.suppress(AssertionError):  # the controller acquires the Lease a moment later
            until(lambda: run_osm(*VERIFY, cluster=running.cluster).out == HEALTHY, within=20)
        assert verify(running) == (0, {})
        yield running
