"""Scenario 5: the control plane is upgraded and its node drained while traffic continues without an error."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from demo.load import LoadResult
from tests.e2e.cluster import Cluster
from tests.e2e.configuration import NODE
from tests.e2e.errors import ClusterError
from tests.e2e.helm import NAMESPACE
from tests.e2e.mesh import CONTROLLER, INJECTOR, Mesh
from tests.e2e.shop import BUYER, shopper

RATE: Final = 20.0
pytestmark = pytest.mark.usefixtures("bookstore")


@pytest.fixture(scope="module")
def start() -> str:
    """The time when this scenario started, in Kubernetes' format."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@pytest.fixture(scope="module")
def load_pod(cluster: Cluster, start: str) -> Iterator[str]:
    """The name of a pod that sends requests to the bookstore during the scenario."""
    name = "shopper"
    cluster.apply(shopper(name, rate=RATE))
    cluster.kubectl("wait", f"pod/{name}", f"--namespace={BUYER}", "--for=condition=Ready", "--timeout=60s", within=70)
    yield name
    cluster.kubectl("delete", "pod", name, f"--namespace={BUYER}", "--grace-period=1")


@pytest.mark.usefixtures("load_pod")
def test_an_upgrade_replaces_every_pod(mesh: Mesh) -> None:
    before = {pod.name for program in (CONTROLLER, INJECTOR) for pod in mesh.pods(program)}
    rolled = {"podAnnotations": {"rolled": "once"}}
    mesh.upgrade({"controller": rolled, "injector": rolled})
    after = {pod.name for program in (CONTROLLER, INJECTOR) for pod in mesh.pods(program)}
    assert len(after) == 4
    assert not before & after


@pytest.mark.usefixtures("load_pod")
@pytest.mark.parametrize("program", [CONTROLLER, INJECTOR])
def test_a_node_drain_leaves_one_of_two_replicas_running(mesh: Mesh, cluster: Cluster, program: str) -> None:
    drain = ("drain", NODE, f"--pod-selector=app={program}", "--ignore-daemonsets", "--timeout=20s")
    try:
        with pytest.raises(ClusterError, match="would violate the pod's disruption budget"):
            cluster.kubectl(*drain, within=40)
        remaining = [pod for pod in mesh.pods(program) if pod.row()[1:3] == ["1/1", "Running"]]
        assert len(remaining) == 1
    finally:
        cluster.kubectl("uncordon", NODE)
    mesh.until_ready()


def test_no_liveness_probe_failed_during_the_scenario(cluster: Cluster, start: str) -> None:
    events = cluster.get("events", f"--namespace={NAMESPACE}", "--field-selector=reason=Unhealthy")["items"]
    recent = [event["message"] for event in events if (event["lastTimestamp"] or event["eventTime"]) > start]
    assert not [message for message in recent if message.startswith("Liveness probe failed")]


def test_no_request_failed_during_the_scenario(cluster: Cluster, load_pod: str) -> None:
    pod = cluster.get("pod", load_pod, f"--namespace={BUYER}")
    (container,) = pod["status"]["containerStatuses"]
    cluster.node.run("kill", "-TERM", str(cluster.node.pid(container["containerID"])))
    succeeded = ("pod", load_pod, f"--namespace={BUYER}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    cluster.kubectl("wait", *succeeded, within=70)
    log = cluster.kubectl("logs", load_pod, f"--namespace={BUYER}", f"--container={BUYER}")
    result = LoadResult(**json.loads(log.strip().splitlines()[-1]))
    assert result.lost == 0, result
    assert result.requests > 30 * RATE, result
