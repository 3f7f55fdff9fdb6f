import pytest

from osm_probes.cli.objects import Deployment, Pod
from osm_probes.cli.verify.deployments import check_deployment, check_versions
from osm_probes.cli.verify.result import Status
from tests.cli.objects import controller_deployment, controller_pod


@pytest.mark.parametrize(
    ("deployment", "pods", "status", "reasons"),
    [
        (controller_deployment(), [controller_pod("a"), controller_pod("b")], Status.SUCCESS, ()),
        (
            controller_deployment(),
            [controller_pod("a"), controller_pod("b", ready="False")],
            Status.WARNING,
            ("1 of 2 pods are ready", "quota"),
        ),
        (
            controller_deployment(),
            [controller_pod("b", ready="False")],
            Status.FAILURE,
            ("0 of 2 pods are ready", "quota"),
        ),
        (controller_deployment(replicas=0), [], Status.FAILURE, ("it is scaled to 0 replicas",)),
        (None, [], Status.FAILURE, ("it does not exist",)),
    ],
)
def test_a_deployment_has_as_many_ready_pods_as_replicas(
    deployment: Deployment | None, pods: list[Pod], status: Status, reasons: tuple[str, ...]
) -> None:
    result = check_deployment("osm-controller", deployment, pods, creation_errors=["quota"])
    assert (result.status, result.reasons) == (status, reasons)


def test_versions_are_compared_without_their_prefix_v() -> None:
    assert check_versions({"a": "v1.0", "b": "1.0", "c": ""}).status is Status.SUCCESS
    assert check_versions({"a": "v1.0", "b": "1.1"}).reasons == ("a is 1.0, b is 1.1",)
