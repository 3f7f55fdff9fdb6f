"""Scene 4: applications of an enrolled namespace get sidecars, and call each other over mTLS without knowing it."""

import json
from typing import Any, Final

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.shop import BUYER, PORT, STORE, caller, purchase, stall

RESET: Final = "ConnectionResetError: [Errno 104] Connection reset by peer"
pytestmark = pytest.mark.usefixtures("bookstore")


@pytest.fixture(scope="module")
def store(cluster: Cluster) -> dict[str, Any]:
    """The bookstore's pod."""
    (pod,) = cluster.get("pods", f"--namespace={STORE}", f"--selector=app={STORE}")["items"]
    return dict(pod)


@pytest.fixture(scope="module")
def bought(cluster: Cluster) -> dict[str, Any]:
    """What the bookstore answered to a Job that asked once."""
    cluster.apply(purchase())
    job = ("job/purchase", f"--namespace={BUYER}")
    cluster.kubectl("wait", *job, "--for=condition=Complete", "--timeout=90s", within=100)
    said: dict[str, Any] = json.loads(cluster.kubectl("logs", *job, f"--container={BUYER}"))
    return said


def answer(cluster: Cluster, pod: dict[str, Any]) -> str:
    """The last line of what a pod says that asks once."""
    name, namespace = pod["metadata"]["name"], f"--namespace={pod['metadata']['namespace']}"
    cluster.apply(pod)
    ended = "--for=jsonpath={.status.containerStatuses[0].state.terminated}"
    cluster.kubectl("wait", f"pod/{name}", namespace, ended, "--timeout=60s", within=70)
    return cluster.kubectl("logs", name, namespace, f"--container={BUYER}").strip().splitlines()[-1]


def test_a_job_buys_at_its_first_try_and_ends_with_its_sidecar(bought: dict[str, Any]) -> None:
    assert bought["books"]


def test_the_bookstore_is_told_who_called_by_the_callers_certificate(bought: dict[str, Any]) -> None:
    assert bought["caller"] == "bookbuyer.bookbuyer.cluster.local"


def test_sidecars_speak_tls_1_3_with_each_other(
    cluster: Cluster, store: dict[str, Any], bought: dict[str, Any]
) -> None:
    assert bought
    container = next(each for each in store["status"]["initContainerStatuses"] if each["name"] == "envoy")
    pid = cluster.node.pid(container["containerID"])
    page = cluster.node.run(
        *("nsenter", f"--target={pid}", "--net", "--", "curl", "--silent"),
        "http://127.0.0.1:15000/stats?filter=ssl.versions.TLSv1.3",
    )
    inbound = [line for line in page.splitlines() if "15003" in line]
    assert any(int(line.rpartition(" ")[2]) for line in inbound), page


def test_a_caller_without_a_sidecar_is_not_served(cluster: Cluster) -> None:
    assert answer(cluster, caller("stranger", namespace="default")) == RESET


@pytest.mark.parametrize(
    ("exclusion", "value"),
    [("outbound-port-exclusion-list", "80"), ("outbound-ip-range-exclusion-list", "10.96.0.0/16")],
)
def test_what_a_pod_excludes_goes_past_its_sidecar(cluster: Cluster, exclusion: str, value: str) -> None:
    annotations = {f"openservicemesh.io/{exclusion}": value}
    name = exclusion.removesuffix("-list")
    assert answer(cluster, caller(name, namespace=BUYER, annotations=annotations)) == RESET


def test_a_port_that_a_pod_excludes_serves_those_without_a_sidecar(cluster: Cluster) -> None:
    pod = ("pod/stall", f"--namespace={STORE}")
    cluster.apply(stall("stall", annotations={"openservicemesh.io/inbound-port-exclusion-list": str(PORT)}))
    cluster.kubectl("wait", *pod, "--for=condition=Ready", "--timeout=60s", within=70)
    address = cluster.get(*pod)["status"]["podIP"]
    said = answer(cluster, caller("outsider", namespace="default", url=f"http://{address}:{PORT}/"))
    assert json.loads(said) == {"books": ["The Mesh", "A Tale of Two Probes"], "caller": ""}


def test_the_sidecar_starts_first_and_keeps_running(store: dict[str, Any]) -> None:
    started = [(each["name"], each.get("restartPolicy")) for each in store["spec"]["initContainers"]]
    assert started == [("osm-init", None), ("envoy", "Always")]


def test_kubelet_asks_the_sidecar_for_the_applications_probes(store: dict[str, Any]) -> None:
    (container,) = store["spec"]["containers"]
    kinds = ("livenessProbe", "readinessProbe", "startupProbe")
    assert [container[kind]["httpGet"]["port"] for kind in kinds] == [15901, 15902, 15904]


def test_the_applications_probes_pass(cluster: Cluster, store: dict[str, Any]) -> None:
    name = store["metadata"]["name"]
    assert cluster.kubectl("get", "pod", name, f"--namespace={STORE}", "--no-headers").split()[1:4] == [
        *("2/2", "Running", "0"),
    ]
    chosen = ("--field-selector=reason=Unhealthy", f"--namespace={STORE}")
    assert not [event["message"] for event in cluster.get("events", *chosen)["items"] if "iveness" in event["message"]]


def test_the_applications_probes_fail_when_it_hangs(cluster: Cluster, store: dict[str, Any]) -> None:
    (container,) = store["status"]["containerStatuses"]
    pid = str(cluster.node.pid(container["containerID"]))
    name = store["metadata"]["name"]

    def ready() -> str:
        return cluster.kubectl("get", "pod", name, f"--namespace={STORE}", "--no-headers").split()[1]

    cluster.node.run("kill", "-STOP", pid)
    try:
        cluster.until(lambda: ready() == "1/2", what="readiness fails", within=30.0)
    finally:
        cluster.node.run("kill", "-CONT", pid)
    cluster.until(lambda: ready() == "2/2", what="it is ready again", within=30.0)


def test_the_sidecars_secret_ends_with_its_pod(cluster: Cluster, bought: dict[str, Any]) -> None:
    assert bought
    chosen = (f"--namespace={BUYER}", "--selector=job-name=purchase")
    (pod,) = cluster.get("pods", *chosen)["items"]
    uuid = pod["metadata"]["labels"]["osm-proxy-uuid"]

    def secrets() -> list[dict[str, Any]]:
        found = cluster.get("secrets", f"--namespace={BUYER}", f"--selector=osm-proxy-uuid={uuid}")["items"]
        return list(found)

    cluster.until(
        lambda: (
            [owner["uid"] for one in secrets() for owner in one["metadata"].get("ownerReferences", ())]
            == [pod["metadata"]["uid"]]
        ),
        what="the Secret is the pod's",
        within=20.0,
    )
    cluster.kubectl("delete", "job", "purchase", f"--namespace={BUYER}")
    cluster.until(lambda: not secrets(), what="the Secret is gone", within=60.0)
