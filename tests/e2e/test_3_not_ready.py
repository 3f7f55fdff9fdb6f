"""Scene 3: a controller that lives, but whose ADS cannot be reached: not ready, not restarted, and not sent to."""

from collections.abc import Iterator
from typing import Final

import pytest

from osm_probes.mesh.ports import ADS_PORT
from tests.e2e.cluster import Cluster
from tests.e2e.mesh import CONTROLLER, Mesh, Pod

# Three failing probes, and what the endpoint needs to be seen.
NOTICED_WITHIN: Final = 60.0
_REFUSE: Final = (
    *("INPUT", "--in-interface", "lo", "--protocol", "tcp", "--dport", str(ADS_PORT)),
    *("--jump", "REJECT", "--reject-with", "tcp-reset"),
)


@pytest.fixture(scope="module")
def unready(mesh: Mesh, cluster: Cluster) -> Iterator[Pod]:
    """A controller that its own firewall cuts off from its own ADS; kubelet has noticed."""
    pod = mesh.pods(CONTROLLER)[0]
    pod.inside("iptables", "--insert", *_REFUSE)
    cluster.until(lambda: pod.row()[1] == "0/1", what="kubelet notices", within=NOTICED_WITHIN)
    yield pod
    pod.inside("iptables", "--flush", "INPUT")
    mesh.until_ready()


def test_kubelet_says_that_readiness_failed_with_503(unready: Pod) -> None:
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in unready.describe()


def test_it_is_running_but_not_ready_and_not_restarted(unready: Pod) -> None:
    assert unready.row()[1:4] == ["0/1", "Running", "0"]


def test_its_service_no_longer_sends_anybody_to_it(unready: Pod, mesh: Mesh) -> None:
    left = mesh.endpoints(CONTROLLER)
    assert left, "the other controller is to be there"
    assert unready.status()["podIP"] not in left


def test_an_event_of_its_own_says_why(unready: Pod) -> None:
    said = {event["reason"]: event["message"] for event in unready.events()}
    assert said["NotReady"].startswith("ads: "), said
    assert str(ADS_PORT) in said["NotReady"]


def test_ready_again_it_is_sent_to_again(unready: Pod, mesh: Mesh, cluster: Cluster) -> None:
    unready.inside("iptables", "--flush", "INPUT")
    address = unready.status()["podIP"]
    cluster.until(lambda: address in mesh.endpoints(CONTROLLER), what="the endpoint is back", within=30.0)
    assert unready.row()[1:4] == ["1/1", "Running", "0"]
