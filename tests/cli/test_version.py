"""`osm version`."""

import pytest

from osm_probes import __version__
from tests.cli.command_result import CommandResult, run_osm
from tests.cli.running_control_plane import RunningControlPlane


def test_the_version_of_this_command_needs_no_cluster() -> None:
    result = run_osm("version", "--client")
    assert result == CommandResult(
        0, f"COMPONENT   NAMESPACE   MESH   VERSION\nosm         -           -      {__version__}\n", ""
    )


@pytest.mark.kubernetes
def test_the_versions_of_all_pods_are_listed(control_plane: RunningControlPlane) -> None:
    assert run_osm("version", cluster=control_plane.cluster) == CommandResult(
        0,
        "COMPONENT          NAMESPACE    MESH   VERSION\n"
        f"osm                -            -      {__version__}\n"
        f"osm-controller-0   osm-system   osm    {__version__}\n"
        f"osm-injector-0     osm-system   osm    {__version__}\n",
        "",
    )
