import pytest

from osm_probes.cli.verify.lease import check_lease
from osm_probes.cli.verify.result import Status
from osm_probes.kube.errors import KubernetesError, NotFoundError
from tests.cli.objects import controller_pod


@pytest.mark.parametrize(
    ("holder", "status"),
    [
        ("osm-controller-0-6b7c", Status.SUCCESS),
        ("osm-controller-9-6b7c", Status.WARNING),
        ("", Status.WARNING),
        (NotFoundError("no Lease"), Status.WARNING),
        (KubernetesError("unreachable"), Status.UNKNOWN),
    ],
)
def test_the_lease_must_be_held_by_a_controllers_pod(holder: str | KubernetesError, status: Status) -> None:
    pods = [controller_pod("osm-controller-0"), controller_pod("osm-controller-1")]
    assert check_lease(holder, pods).status is status
