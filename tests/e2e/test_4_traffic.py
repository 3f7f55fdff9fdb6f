"""Scenario 4: applications in a namespace of the mesh get sidecars, and call each other over mTLS."""

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
def purchase_result(cluster: Cluster) -> dict[str, Any]:
    """The bookstore's response to a Job that sends one request."""
    cluster.apply(purchase())
    job = ("job/purchase", f"--namespace={BUYER}")
    cluster.kubectl("wait", *job, "--for=condition=Complete", "--timeout=90s", within=100)
    response: dict[str, Any] = json.loads(cluster.kubectl("logs", *job, f"--container={BUYER}"))
    return response


def output_of(cluster: Cluster, pod: dict[str, Any]) -> str:
    """Create a pod that sends one request, wait until it exits, and return the last line of its log."""
    name, namespace = pod["metadata"]["name"], f"--namespace={pod['metadata']['namespace']}"
    cluster.apply(pod)
    ended = "--for=jsonpath={.status.containerStatuses[0].state.terminated}"
    cluster.kubectl("wait", f"pod/{name}", namespace, ended, "--timeout=60s", within=70)
    return cluster.kubectl("logs", name, namespace, f"--container={BUYER}").strip().splitlines()[-1]


def test_a_jobs_first_request_succeeds_and_the_job_completes_despite_its_sidecar(
    purchase_result: dict[str, Any],
) -> None:
    assert purchase_result["books"]


def test_the_bookstore_gets_the_callers_identity_from_its_certificate(purchase_result: dict[str, Any]) -> None:
    assert purchase_result["caller"] == "bookbuyer.bookbuyer.cluster.local"


def test_sidecars_use_tls_1_3_with_each_other(
    cluster: Cluster, store: dict[str, Any], purchase_result: dict[str, Any]
) -> None:
    assert purchase_result
    container = next(status for status in store["status"]["initContainerStatuses"] if status["name"] == "envoy")
    pid = cluster.node.pid(container["containerID"])
    page = cluster.node.run(
        *("nsenter", f"--target={pid}", "--net", "--", "curl", "--silent"),
        "http://127.0.0.1:15000/stats?filter=ssl.versions.TLSv1.3",
    )
    inbound = [line for line in page.splitlines() if "15003" in line]
    assert any(int(line.rpartition(" ")[2]) for line in inbound), page


@pytest.mark.parametrize("tables", ["iptables", "ip6tables"])
def test_the_init_container_sets_rules_of_both_address_families(
    cluster: Cluster, store: dict[str, Any], tables: str
) -> None:
    container = next(status for status in store["status"]["initContainerStatuses"] if status["name"] == "envoy")
    pid = cluster.node.pid(container["containerID"])
    rules = cluster.node.run("nsenter", f"--target={pid}", "--net", "--", tables, "-t", "nat", "-S", "PREROUTING")
    assert "-A PREROUTING -p tcp -j OSM_PROXY_INBOUND" in rules.splitlines()


def test_a_caller_without_a_sidecar_is_refused(cluster: Cluster) -> None:
    assert output_of(cluster, caller("stranger", namespace="default")) == RESET


@pytest.mark.parametrize(
    ("exclusion", "value"),
    [("outbound-port-exclusion-list", "80"), ("outbound-ip-range-exclusion-list", "10.96.0.0/16")],
)
def test_excluded_outbound_traffic_bypasses_the_sidecar(cluster: Cluster, exclusion: str, value: str) -> None:
    annotations = {f"openservicemesh.io/{exclusion}": value}
    name = exclusion.removesuffix("-list")
    assert output_of(cluster, caller(name, namespace=BUYER, annotations=annotations)) == RESET


def test_an_excluded_inbound_port_accepts_callers_without_a_sidecar(cluster: Cluster) -> None:
    pod = ("pod/stall", f"--namespace={STORE}")
    cluster.apply(stall("stall", annotations={"openservicemesh.io/inbound-port-exclusion-list": str(PORT)}))
    cluster.kubectl("wait", *pod, "--for=condition=Ready", "--timeout=60s", within=70)
    address = cluster.get(*pod)["status"]["podIP"]
    output = output_of(cluster, caller("outsider", namespace="default", url=f"http://{address}:{PORT}/"))
    assert json.loads(output) == {"books": ["The Mesh", "A Tale of Two Probes"], "caller": ""}


def test_the_sidecar_starts_first_and_keeps_running(store: dict[str, Any]) -> None:
    containers = [(container["name"], container.get("restartPolicy")) for container in store["spec"]["initContainers"]]
    assert containers == [("osm-init", None), ("envoy", "Always")]


def test_the_applications_probes_go_to_the_sidecars_ports(store: dict[str, Any]) -> None:
    (container,) = store["spec"]["containers"]
    kinds = ("livenessProbe", "readinessProbe", "startupProbe")
    assert [container[kind]["httpGet"]["port"] for kind in kinds] == [15901, 15902, 15904]


def test_the_applications_probes_pass(cluster: Cluster, store: dict[str, Any]) -> None:
    name = store["metadata"]["name"]
    assert cluster.kubectl("get", "pod", name, f"--namespace={STORE}", "--no-headers").split()[1:4] == [
        *("2/2", "Running", "0"),
    ]
    selection = ("--field-selector=reason=Unhealthy", f"--namespace={STORE}")
    assert not [
        event["message"] for event in cluster.get("events", *selection)["items"] if "iveness" in event["message"]
    ]


def test_the_applications_probes_fail_while_it_hangs(cluster: Cluster, store: dict[str, Any]) -> None:
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
    cluster.until(lambda: ready() == "2/2", what="the pod is ready again", within=30.0)


def test_the_sidecars_secret_is_deleted_with_its_pod(cluster: Cluster, purchase_result: dict[str, Any]) -> None:
    assert purchase_result
    selection = (f"--namespace={BUYER}", "--selector=job-name=purchase")
    (pod,) = cluster.get("pods", *selection)["items"]
    uuid = pod["metadata"]["labels"]["osm-proxy-uuid"]

    def secrets() -> list[dict[str, Any]]:
        items = cluster.get("secrets", f"--namespace={BUYER}", f"--selector=osm-proxy-uuid={uuid}")["items"]
        return list(items)

    cluster.until(
        lambda: (
            [owner["uid"] for secret in secrets() for owner in secret["metadata"].get("ownerReferences", ())]
            == [pod["metadata"]["uid"]]
        ),
        what="the pod owns the Secret",
        within=20.0,
    )
    cluster.kubectl("delete", "job", "purchase", f"--namespace={BUYER}")
    cluster.until(lambda: not secrets(), what="the Secret is gone", within=60.0)
