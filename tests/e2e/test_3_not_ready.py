"""Scenario 3: a controller whose ADS is unreachable becomes unready, is not restarted, and leaves its Service."""

from collections.abc import Iterator
from typing import Final

import pytest

from osm_probes.mesh.ports import ADS_PORT
from tests.e2e.cluster import Cluster
from tests.e2e.mesh import CONTROLLER, Mesh, Pod

# Three failing probes, and the propagation of the endpoint.
NOTICED_WITHIN: Final = 60.0
_REFUSE: Final = (
    *("INPUT", "--in-interface", "lo", "--protocol", "tcp", "--dport", str(ADS_PORT)),
    *("--jump", "REJECT", "--reject-with", "tcp-reset"),
)


@pytest.fixture(scope="module")
def unready(mesh: Mesh, cluster: Cluster) -> Iterator[Pod]:
    """A controller whose firewall blocks its ADS port; kubelet has marked it as not ready."""
    pod = mesh.pods(CONTROLLER)[0]
    pod.inside("iptables", "--insert", *_REFUSE)
    cluster.until(lambda: pod.row()[1] == "0/1", what="kubelet marks the pod as not ready", within=NOTICED_WITHIN)
    yield pod
    pod.inside("iptables", "--flush", "INPUT")
    mesh.until_ready()


def test_kubelet_reports_that_readiness_failed_with_503(unready: Pod) -> None:
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in unready.describe()


def test_the_pod_is_running_but_not_ready_and_is_not_restarted(unready: Pod) -> None:
    assert unready.row()[1:4] == ["0/1", "Running", "0"]


def test_the_pod_is_not_among_the_services_endpoints(unready: Pod, mesh: Mesh) -> None:
    addresses = mesh.endpoints(CONTROLLER)
    assert addresses, "the other controller must still be an endpoint"
    assert unready.status()["podIP"] not in addresses


def test_the_controllers_own_event_has_the_reason(unready: Pod) -> None:
    messages = {event["reason"]: event["message"] for event in unready.events()}
    assert messages["NotReady"].startswith("ads: "), messages
    assert str(ADS_PORT) in messages["NotReady"]


def test_the_pod_returns_to_the_endpoints_when_it_is_ready_again(unready: Pod, mesh: Mesh, cluster: Cluster) -> None:
    unready.inside("iptables", "--flush", "INPUT")
    address = unready.status()["podIP"]
    cluster.until(lambda: address in mesh.endpoints(CONTROLLER), what="the endpoint is back", within=30.0)
    assert unready.row()[1:4] == ["1/1", "Running", "0"]
