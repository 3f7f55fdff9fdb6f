"""`osm verify control-plane` of running programs with one fault each: it finds this fault and nothing else."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.running_control_plane import NAMESPACE, RunningControlPlane
from tests.cli.verify_faults import additional_pod, event, patched, verify
from tests.standin import until

pytestmark = pytest.mark.kubernetes


NO_RESPONSE = ["Failure", "no response: error trying to reach service: dial tcp ADDRESS: connect: connection refused"]
NO_RESPONSE_FINDINGS = {
    "osm/Pod osm-controller-1/Probe alive": NO_RESPONSE,
    "osm/Pod osm-controller-1/Probe ready": NO_RESPONSE,
    "osm/Pod osm-controller-1/Certificates": [
        "Unknown",
        "/metrics: error trying to reach service: dial tcp ADDRESS: connect: connection refused",
    ],
    "osm/Pod osm-controller-1/Proxies": [
        "Unknown",
        "port 9092 of pod osm-system/osm-controller-1: dial tcp4 ADDRESS: connect: connection refused",
    ],
}


def _waiting_status(reason: str, message: str, *, terminated: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "name": "osm-controller",
            "image": "a",
            "imageID": "",
            "ready": False,
            "restartCount": 4 if terminated else 0,
            "state": {"waiting": {"reason": reason, "message": message}},
            **({"lastState": {"terminated": terminated}} if terminated else {}),
        }
    ]


NOT_READY = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready: osm-controller"}]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: 3 Insufficient memory.",
                    }
                ],
                "containerStatuses": None,
            },
            ["Failure", "not scheduled: Unschedulable: 0/3 nodes are available: 3 Insufficient memory."],
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "containerStatuses": _waiting_status("ContainerCreating", ""),
            },
            [
                "Failure",
                "its containers have not started",
                "-> if this lasts, look at the pod's Events: a volume, a Secret or an image may be missing",
            ],
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "containerStatuses": _waiting_status(
                    "ImagePullBackOff", 'Back-off pulling image "osm/osm-controller:v9"'
                ),
            },
            [
                "Failure",
                'container osm-controller is waiting: ImagePullBackOff: Back-off pulling image "osm/osm-controller:v9"',
                "-> check the image's name and the pull secret of the Deployment",
            ],
        ),
        (
            {
                "phase": "Running",
                "conditions": NOT_READY,
                "containerStatuses": _waiting_status(
                    "CrashLoopBackOff",
                    "back-off 40s restarting failed container",
                    terminated={"reason": "OOMKilled", "exitCode": 137},
                ),
            },
            [
                "Failure",
                "container osm-controller is waiting: CrashLoopBackOff: back-off 40s restarting failed container",
                "container osm-controller terminated: OOMKilled, exit status 137 (4 restarts)",
                "not ready: ContainersNotReady: unready: osm-controller",
                "-> read the log of the previous container: kubectl logs --previous",
                "-> raise the container's memory limit",
            ],
        ),
    ],
    ids=["unschedulable", "creating", "image", "out-of-memory"],
)
def test_the_reason_why_a_pod_does_not_run_is_found(
    pristine: RunningControlPlane, status: dict[str, Any], expected: list[str]
) -> None:
    with additional_pod(pristine, "osm-controller-1", **status):
        pristine.kubelet.previous_logs["osm-controller-1", "osm-controller"] = ""
        exit_status, found = verify(pristine)
    assert exit_status == 1
    assert found == {"osm/Pod osm-controller-1/Running": expected, **NO_RESPONSE_FINDINGS}


def test_equal_events_are_merged_and_sorted_newest_first(pristine: RunningControlPlane) -> None:
    probe = "Liveness probe failed: HTTP probe failed with statuscode: 503"
    with (
        event(pristine, "Unhealthy", probe, count=3, ago=130),
        event(pristine, "Unhealthy", probe, count=2, ago=500),
        event(pristine, "BackOff", "Back-off restarting failed container", count=1, ago=7),
        event(
            pristine,
            "Killing",
            "Container osm-controller failed liveness probe, will be restarted",
            ago=145,
            kind="Normal",
        ),
        event(pristine, "Pulled", "Container image already present", kind="Normal"),
    ):
        status, found = verify(pristine)
    assert status == 0, "the Events may be over"
    assert [re.sub(r"\d+s ago", "7s ago", line) for line in found.pop("osm/Pod osm-controller-0/Events")] == [
        "Warning",
        "BackOff: Back-off restarting failed container (7s ago)",
        f"Unhealthy: {probe} (5 times, last 2m ago)",
        "Killing: Container osm-controller failed liveness probe, will be restarted (2m ago)",
    ]
    assert found == {}


def test_equal_log_errors_are_merged_also_of_the_previous_container(pristine: RunningControlPlane) -> None:
    at = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    compact = f'{{"level":"error","time":"{at}","message":"a stream failed","error":"reset"}}\n'
    spaced = '{"level": "error", "message": "cannot list"}\n'
    pristine.kubelet.previous_logs["osm-controller-1", "osm-controller"] = (
        3 * compact + '{"level":"info","message":"fine"}\n'
    )
    key = ("osm-controller-1", "osm-controller")
    log = pristine.folder / "container.log"
    log.write_text(2 * spaced + 'no JSON but "level":"fatal" in it\n' + '{"level":"warn","message":"error"}\n')
    pristine.kubelet.logs[key] = log
    terminated = {"reason": "Error", "exitCode": 1}
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    state = _waiting_status("", "", terminated=terminated)[0] | {"ready": True, "state": running}
    with additional_pod(pristine, "osm-controller-1", containerStatuses=[state]):
        _, found = verify(pristine)
    del pristine.kubelet.logs[key]
    assert found == NO_RESPONSE_FINDINGS | {
        "osm/Pod osm-controller-1/Running": [
            "Warning",
            "container osm-controller was restarted 4 times, last after Error with exit status 1",
        ],
        "osm/Pod osm-controller-1/Log": [
            "Warning",
            "osm-controller before its restart: a stream failed: reset (3 times, last 3h ago)",
            "osm-controller: cannot list (2 times)",
            'osm-controller: no JSON but "level":"fatal" in it',
        ],
    }


def test_a_certificate_that_the_ca_bundle_does_not_verify_is_found(pristine: RunningControlPlane) -> None:
    ports = pristine.kubelet.ports
    served = ports["osm-injector-0", 9090]
    node = pristine.cluster.request("GET", "/api/v1/nodes/node-1")
    for port, expected in (
        (
            node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"],
            ("Failure", "the API server does not trust the injector's certificate: "),
        ),
        (
            pristine.programs["osm-injector-0"].http_port,
            ("Unknown", "port 9090 of pod osm-system/osm-injector-0: no TLS: "),
        ),
        (1, ("Unknown", "port 9090 of pod osm-system/osm-injector-0: dial tcp4 ")),
    ):
        ports["osm-injector-0", 9090] = port
        status, found = verify(pristine)
        ports["osm-injector-0", 9090] = served
        assert status == (1 if expected[0] == "Failure" else 2)
        (path,) = found
        assert path == "osm/Pod osm-injector-0/Webhook certificate"
        assert found[path][0] == expected[0]
        assert found[path][1].startswith(expected[1])


# The next two tests must be the last ones: the logs and Events of the programs keep traces of these faults.


def test_missing_objects_of_a_control_plane_are_found(pristine: RunningControlPlane) -> None:
    cluster = pristine.cluster
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/osm-controller-1"
    endpoints = cluster.request("GET", slices)["endpoints"]
    unready = [{**endpoint, "conditions": {"ready": False}} for endpoint in endpoints]
    apps = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/osm-injector"
    version = cluster.request("GET", apps)["metadata"]["labels"]["app.kubernetes.io/version"]
    older = {"metadata": {"labels": {"app.kubernetes.io/version": "v0.0.9"}}}
    newer = {"metadata": {"labels": {"app.kubernetes.io/version": version}}}
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/osm-injector-osm-system"
    rules = cluster.request("GET", roles)["rules"]
    kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    name = "tcproutes.specs.smi-spec.io"
    crd = cluster.request("GET", f"{kinds}/{name}")
    with (
        patched(cluster, slices, {"endpoints": unready}, {"endpoints": endpoints}),
        patched(cluster, apps, older, newer),
        patched(cluster, roles, {"rules": rules[:1]}, {"rules": rules}),
    ):
        cluster.request("DELETE", f"{kinds}/{name}")
        until(lambda: "CRDs/tcproutes.specs.smi-spec.io" in verify(pristine)[1], within=15)
        until(lambda: "osm/Permissions of osm-injector" in verify(pristine)[1], within=15)
        status, found = verify(pristine)
        cluster.request("POST", kinds, {**crd, "metadata": {"name": name}, "status": None})
    until(lambda: verify(pristine)[0] == 0, within=30)
    ours = version.removeprefix("v")
    assert status == 1
    # The injector's own reports about its permissions come a moment later.
    assert {path: finding for path, finding in found.items() if "/Pod osm-injector-0/" not in path} == {
        "osm/Services/osm-controller": ["Failure", "it has no ready endpoint", "-> check its pods' probes"],
        "osm/Permissions of osm-injector": [
            "Failure",
            "it may not list, watch, patch mutatingwebhookconfigurations.admissionregistration.k8s.io osm-webhook-osm",
            "-> install the chart again: its ClusterRoles and Roles grant the permissions",
        ],
        "osm/Versions": [
            "Warning",
            f"this command is {ours}, Deployment osm-controller is {ours}, Deployment osm-injector is 0.0.9, "
            f"osm-controller-0 is {ours}, osm-injector-0 is {ours}",
            "-> upgrade the components with an older version",
        ],
        "CRDs/tcproutes.specs.smi-spec.io": [
            "Warning",
            "the API server does not serve v1alpha4: objects of this kind have no effect",
            "-> kubectl apply -f charts/osm/crds",
        ],
    }


WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


def test_a_missing_webhook_is_found(pristine: RunningControlPlane) -> None:
    webhook = pristine.cluster.request("GET", f"{WEBHOOKS}/osm-webhook-osm")
    pristine.cluster.request("DELETE", f"{WEBHOOKS}/osm-webhook-osm")
    try:
        until(lambda: verify(pristine)[0] == 1, within=10)
        until(lambda: "osm/Pod osm-injector-0/Probe ready" in verify(pristine)[1], within=10)
        _, found = verify(pristine)
    finally:
        metadata = {"name": "osm-webhook-osm", "labels": webhook["metadata"]["labels"]}
        pristine.cluster.request("POST", WEBHOOKS, webhook | {"metadata": metadata})
        pristine.programs["osm-injector-0"].until_ready()
    assert found["osm/Webhook osm-webhook-osm"] == [
        "Failure",
        "the MutatingWebhookConfiguration does not exist: new pods get no sidecar",
        "-> install the chart again, which creates it",
    ]
    assert found["osm/Pod osm-injector-0/Probe ready"][:2] == [
        "Failure",
        "bundle: there is no MutatingWebhookConfiguration osm-webhook-osm: install the chart, which brings it",
    ]
