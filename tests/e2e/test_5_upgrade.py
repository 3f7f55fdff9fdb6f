"""Scene 5: the control plane is upgraded, and its node drained, under traffic that notices nothing."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from demo.shopping import Receipt
from tests.e2e.cluster import Cluster
from tests.e2e.configuration import NODE
from tests.e2e.errors import ClusterError
from tests.e2e.helm import NAMESPACE
from tests.e2e.mesh import CONTROLLER, INJECTOR, Mesh
from tests.e2e.shop import BUYER, shopper

RATE: Final = 20.0
pytestmark = pytest.mark.usefixtures("bookstore")


@pytest.fixture(scope="module")
def begun() -> str:
    """When this scene began, as Kubernetes writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@pytest.fixture(scope="module")
def shopping(cluster: Cluster, begun: str) -> Iterator[str]:
    """A bookbuyer that buys all the time."""
    name = "shopper"
    cluster.apply(shopper(name, rate=RATE))
    cluster.kubectl("wait", f"pod/{name}", f"--namespace={BUYER}", "--for=condition=Ready", "--timeout=60s", within=70)
    yield name
    cluster.kubectl("delete", "pod", name, f"--namespace={BUYER}", "--grace-period=1")


@pytest.mark.usefixtures("shopping")
def test_an_upgrade_replaces_every_pod(mesh: Mesh) -> None:
    before = {pod.name for program in (CONTROLLER, INJECTOR) for pod in mesh.pods(program)}
    rolled = {"podAnnotations": {"rolled": "once"}}
    mesh.upgrade({"controller": rolled, "injector": rolled})
    after = {pod.name for program in (CONTROLLER, INJECTOR) for pod in mesh.pods(program)}
    assert len(after) == 4
    assert not before & after


@pytest.mark.usefixtures("shopping")
@pytest.mark.parametrize("program", [CONTROLLER, INJECTOR])
def test_a_drained_node_keeps_one_of_two_replicas(mesh: Mesh, cluster: Cluster, program: str) -> None:
    drain = ("drain", NODE, f"--pod-selector=app={program}", "--ignore-daemonsets", "--timeout=20s")
    try:
        with pytest.raises(ClusterError, match="would violate the pod's disruption budget"):
            cluster.kubectl(*drain, within=40)
        kept = [pod for pod in mesh.pods(program) if pod.row()[1:3] == ["1/1", "Running"]]
        assert len(kept) == 1
    finally:
        cluster.kubectl("uncordon", NODE)
    mesh.until_ready()


def test_no_probe_of_liveness_failed_meanwhile(cluster: Cluster, begun: str) -> None:
    events = cluster.get("events", f"--namespace={NAMESPACE}", "--field-selector=reason=Unhealthy")["items"]
    late = [event["message"] for event in events if (event["lastTimestamp"] or event["eventTime"]) > begun]
    assert not [message for message in late if message.startswith("Liveness probe failed")]


def test_no_request_failed_meanwhile(cluster: Cluster, shopping: str) -> None:
    pod = cluster.get("pod", shopping, f"--namespace={BUYER}")
    (container,) = pod["status"]["containerStatuses"]
    cluster.node.run("kill", "-TERM", str(cluster.node.pid(container["containerID"])))
    done = ("pod", shopping, f"--namespace={BUYER}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    cluster.kubectl("wait", *done, within=70)
    log = cluster.kubectl("logs", shopping, f"--namespace={BUYER}", f"--container={BUYER}")
    receipt = Receipt(**json.loads(log.strip().splitlines()[-1]))
    assert receipt.lost == 0, receipt
    assert receipt.requests > 30 * RATE, receipt
