"""`osm verify control-plane` of real programs with planted faults: each fault, and nothing else, is found."""

import contextlib
import io
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Said, osm
from tests.cli.installed import deployment, enrolled, namespace
from tests.cli.live import HOME, Live, at_work
from tests.cli.verifying import VERIFY, WELL, another_pod, changed, event, findings, grant, verified
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install
from tests.standin import until

pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A control plane at work, of which nothing is told yet."""
    with at_work(tmp_path_factory.mktemp("live")) as made:
        with contextlib.suppress(AssertionError):  # the Lease is taken a moment later
            until(lambda: osm(*VERIFY, cluster=made.cluster).out == WELL, within=20)
        assert verified(made) == (0, {})
        yield made


def test_a_healthy_control_plane_is_a_success_for_a_user_who_may_only_read(live: Live) -> None:
    reader = str(_reader(live.cluster))
    assert osm(*VERIFY, "--kubeconfig", reader) == Said(0, WELL, "")
    assert osm("doctor", "--kubeconfig", reader, "--osm-namespace", HOME) == Said(0, WELL, "")


def _reader(cluster: ApiServer) -> Path:
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    ]
    grant(cluster, "reader", rules)
    return cluster.kubeconfig_for("reader")


SIDECAR = """\
│   ├── Pod osm-controller-1: Failure
│   │   ├── No sidecar: Failure
│   │   │       Reason: container pipy has the image flomesh/pipy:0.5.0
│   │   │       Reason: namespace osm-system is enrolled in mesh osm2
│   │   │       Suggestion: osm namespace remove osm-system --mesh-name osm2
│   │   │       Suggestion: kubectl delete pod -n osm-system osm-controller-1
│   │   ├── Running: Success
"""


def test_a_sidecar_is_found_with_the_mesh_that_injected_it_and_fixed_when_asked(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = live.cluster
    home = f"/api/v1/namespaces/{HOME}"
    told = enrolled(HOME, mesh="osm2")["metadata"]
    gone = {key: dict.fromkeys(told[key]) for key in ("labels", "annotations")}
    with (
        another_pod(live, "osm-controller-1", images=("flomesh/pipy:0.5.0",)),
        changed(cluster, home, {"metadata": told}, {"metadata": gone}),
    ):
        said = osm(*VERIFY, cluster=cluster)
        assert said.status == 1
        assert SIDECAR in said.out
        assert (
            "│   ├── Own namespace is not injected: Failure\n"
            "│   │       Reason: namespace osm-system is enrolled in mesh osm2 with sidecar injection: "
            "its next pods get sidecars\n"
            "│   │       Suggestion: osm namespace remove osm-system --mesh-name osm2\n"
        ) in said.out
        assert osm(*VERIFY, cluster=cluster).out == said.out, "nothing was changed"
        question = "Remove namespace osm-system from mesh osm2? [y/N] "
        for answer in ("n\n", ""):
            monkeypatch.setattr("sys.stdin", io.StringIO(answer))
            assert osm(*VERIFY, "--fix", cluster=cluster) == Said(1, said.out, question)
        monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
        fixed = osm(*VERIFY, "--fix", "-o", "json", cluster=cluster)
        assert fixed.err == f"{question}Namespace [osm-system] successfully removed from mesh [osm2]\n"
        assert "openservicemesh.io/monitored-by" not in cluster.request("GET", home)["metadata"]["labels"]
        assert fixed.status == 1, "the pod has its sidecar still"
        assert findings(fixed)["osm/Pod osm-controller-1/No sidecar"] == [
            "Failure",
            "container pipy has the image flomesh/pipy:0.5.0",
            "namespace osm-system is enrolled in no mesh now: it was when the pod was made",
            "-> kubectl delete pod -n osm-system osm-controller-1",
        ]


@pytest.mark.parametrize(
    ("labels", "annotations"),
    [
        ({"ignore": "true"}, {"sidecar-injection": "enabled"}),
        ({}, {"sidecar-injection": "disabled"}),
        ({}, {"sidecar-injection": "what"}),
        ({}, {}),
    ],
    ids=["ignored", "disabled", "meaningless", "not-said"],
)
def test_an_enrolment_that_injects_nothing_is_no_fault(
    live: Live, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    written = namespace(
        HOME, labels={f"openservicemesh.io/{key}": value for key, value in {"monitored-by": "osm2", **labels}.items()}
    )["metadata"]
    written["annotations"] = {f"openservicemesh.io/{key}": value for key, value in annotations.items()}
    gone = {key: dict.fromkeys(written[key]) for key in ("labels", "annotations")}
    with changed(live.cluster, f"/api/v1/namespaces/{HOME}", {"metadata": written}, {"metadata": gone}):
        assert verified(live) == (0, {})


NO_ANSWER = ["Failure", "no response: error trying to reach service: dial tcp ADDRESS: connect: connection refused"]
SILENT = {
    "osm/Pod osm-controller-1/Probe alive": NO_ANSWER,
    "osm/Pod osm-controller-1/Probe ready": NO_ANSWER,
    "osm/Pod osm-controller-1/Certificates": [
        "Unknown",
        "/metrics: error trying to reach service: dial tcp ADDRESS: connect: connection refused",
    ],
}


def _waiting(reason: str, message: str, *, ended: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "name": "osm-controller",
            "image": "a",
            "imageID": "",
            "ready": False,
            "restartCount": 4 if ended else 0,
            "state": {"waiting": {"reason": reason, "message": message}},
            **({"lastState": {"terminated": ended}} if ended else {}),
        }
    ]


NOT_READY = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready: osm-controller"}]


@pytest.mark.parametrize(
    ("status", "found"),
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
                "containerStatuses": _waiting("ContainerCreating", ""),
            },
            [
                "Failure",
                "its containers do not run yet",
                "-> see its Events, if this lasts: a volume, a Secret or an image may be missing",
            ],
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "containerStatuses": _waiting("ImagePullBackOff", 'Back-off pulling image "osm/osm-controller:v9"'),
            },
            [
                "Failure",
                'container osm-controller waits: ImagePullBackOff: Back-off pulling image "osm/osm-controller:v9"',
                "-> check the image's name and the pull secret of the Deployment",
            ],
        ),
        (
            {
                "phase": "Running",
                "conditions": NOT_READY,
                "containerStatuses": _waiting(
                    "CrashLoopBackOff",
                    "back-off 40s restarting failed container",
                    ended={"reason": "OOMKilled", "exitCode": 137},
                ),
            },
            [
                "Failure",
                "container osm-controller waits: CrashLoopBackOff: back-off 40s restarting failed container",
                "container osm-controller ended: OOMKilled, exit status 137 (4 restarts)",
                "not ready: ContainersNotReady: unready: osm-controller",
                "-> read the log of the previous container: kubectl logs --previous",
                "-> raise the container's memory limit",
            ],
        ),
    ],
    ids=["unschedulable", "creating", "image", "out-of-memory"],
)
def test_why_a_pod_does_not_run_is_told(live: Live, status: dict[str, Any], found: list[str]) -> None:
    with another_pod(live, "osm-controller-1", **status):
        live.kubelet.previous["osm-controller-1", "osm-controller"] = ""
        exit_status, all_found = verified(live)
    assert exit_status == 1
    assert all_found == {"osm/Pod osm-controller-1/Running": found, **SILENT}


def test_events_are_told_once_newest_first(live: Live) -> None:
    probe = "Liveness probe failed: HTTP probe failed with statuscode: 503"
    with (
        event(live, "Unhealthy", probe, count=3, ago=130),
        event(live, "Unhealthy", probe, count=2, ago=500),
        event(live, "BackOff", "Back-off restarting failed container", count=1, ago=7),
        event(
            live, "Killing", "Container osm-controller failed liveness probe, will be restarted", ago=131, kind="Normal"
        ),
        event(live, "Pulled", "Container image already present", kind="Normal"),
    ):
        status, found = verified(live)
    assert status == 0, "they are past"
    assert [re.sub(r"\d+s ago", "7s ago", each) for each in found.pop("osm/Pod osm-controller-0/Events")] == [
        "Warning",
        "BackOff: Back-off restarting failed container (7s ago)",
        f"Unhealthy: {probe} (5 times, last 2m ago)",
        "Killing: Container osm-controller failed liveness probe, will be restarted (2m ago)",
    ]
    assert found == {}


def test_errors_in_logs_are_told_once_in_both_forms_and_of_the_container_before(live: Live) -> None:
    at = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    compact = f'{{"level":"error","time":"{at}","message":"a stream failed","error":"reset"}}\n'
    spaced = '{"level": "error", "message": "cannot list"}\n'
    live.kubelet.previous["osm-controller-1", "osm-controller"] = 3 * compact + '{"level":"info","message":"fine"}\n'
    key = ("osm-controller-1", "osm-controller")
    log = live.folder / "planted.log"
    log.write_text(2 * spaced + 'no JSON but "level":"fatal" in it\n' + '{"level":"warn","message":"error"}\n')
    live.kubelet.logs[key] = log
    restarted = {"reason": "Error", "exitCode": 1}
    now = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    state = _waiting("", "", ended=restarted)[0] | {"ready": True, "state": now}
    with another_pod(live, "osm-controller-1", containerStatuses=[state]):
        _, found = verified(live)
    del live.kubelet.logs[key]
    assert found == SILENT | {
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


def test_a_second_mesh_without_pods_is_told_beside_the_first(live: Live) -> None:
    cluster = live.cluster
    cluster.create(namespace("osm-system-2"))
    made = [deployment("osm-controller", home="osm-system-2", mesh="osm2")]
    quota = 'Error creating: pods "osm-controller-1" is forbidden: exceeded quota: small'
    install(cluster, made)
    told = cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "quota", "namespace": "osm-system-2"},
            "involvedObject": {"kind": "ReplicaSet", "namespace": "osm-system-2", "name": "osm-controller-5d4"},
            "reason": "FailedCreate",
            "message": quota,
            "type": "Warning",
            "count": 9,
        }
    )
    status, found = verified(live)
    for each in (*made, told):
        cluster.delete(each)
    place = "Mesh osm2 in namespace osm-system-2"
    assert status == 1
    assert found[f"{place}/Deployment osm-controller"] == [
        "Failure",
        "0 of 1 pods are ready",
        f"FailedCreate: {quota} (9 times)",
    ]
    assert found[f"{place}/Deployment osm-injector"][1] == "there is none"
    assert found[f"{place}/Services/osm-controller"][1] == "there is no such Service"
    assert {each.partition("/")[0] for each in found} == {place}


def test_what_may_not_be_read_is_unknown_and_the_exit_status_says_so(live: Live) -> None:
    rules = [{"apiGroups": ["", "apps"], "resources": ["pods", "deployments", "events", "services"], "verbs": ["list"]}]
    grant(live.cluster, "onlooker", rules)
    said = osm(*VERIFY, "-o", "json", "--kubeconfig", str(live.cluster.kubeconfig_for("onlooker")))
    found = findings(said)
    assert said.status == 2
    assert {each[0] for each in found.values()} == {"Unknown"}
    assert found["osm/Own namespace is not injected"][1].endswith("; its user must be allowed to list namespaces")
    assert found["osm/Pod osm-controller-0/Log"][1].endswith("; its user must be allowed to get pods/log")


def test_an_api_server_that_does_not_answer_is_an_error(live: Live) -> None:
    nobody = live.cluster.kubeconfig_for("nobody", url="https://127.0.0.1:1")
    said = osm(*VERIFY, "--kubeconfig", str(nobody))
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("Error: GET /apis/apps/v1/deployments: ")


def test_twenty_namespaces_take_less_than_three_seconds(live: Live) -> None:
    for number in range(20):
        live.cluster.create(enrolled(f"shop-{number}", mesh="osm"))
    started = time.monotonic()
    assert osm(*VERIFY, cluster=live.cluster).status == 0
    took = time.monotonic() - started
    print(f"verify took {took:.2f} s")
    assert took < 3


def test_a_certificate_that_the_bundle_does_not_trust_is_found_from_outside(live: Live) -> None:
    ports = live.kubelet.ports
    served = ports["osm-injector-0", 9090]
    node = live.cluster.request("GET", "/api/v1/nodes/node-1")
    for port, found in (
        (
            node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"],
            ("Failure", "the API server does not trust it: "),
        ),
        (
            live.programs["osm-injector-0"].http_port,
            ("Unknown", "port 9090 of pod osm-system/osm-injector-0: no TLS: "),
        ),
        (1, ("Unknown", "port 9090 of pod osm-system/osm-injector-0: dial tcp4 ")),
    ):
        ports["osm-injector-0", 9090] = port
        status, all_found = verified(live)
        ports["osm-injector-0", 9090] = served
        assert status == (1 if found[0] == "Failure" else 2)
        (place,) = all_found
        assert place == "osm/Pod osm-injector-0/Webhook certificate"
        assert all_found[place][0] == found[0]
        assert all_found[place][1].startswith(found[1])


# The last two: what the programs told of these faults stays in their logs and Events.


def test_what_belongs_to_a_control_plane_is_missed(live: Live) -> None:
    cluster = live.cluster
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{HOME}/endpointslices/osm-controller-1"
    endpoints = cluster.request("GET", slices)["endpoints"]
    unready = [{**each, "conditions": {"ready": False}} for each in endpoints]
    apps = f"/apis/apps/v1/namespaces/{HOME}/deployments/osm-injector"
    version = cluster.request("GET", apps)["metadata"]["labels"]["app.kubernetes.io/version"]
    older = {"metadata": {"labels": {"app.kubernetes.io/version": "v0.0.9"}}}
    newer = {"metadata": {"labels": {"app.kubernetes.io/version": version}}}
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/osm-injector-osm-system"
    rules = cluster.request("GET", roles)["rules"]
    kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    name = "tcproutes.specs.smi-spec.io"
    crd = cluster.request("GET", f"{kinds}/{name}")
    with (
        changed(cluster, slices, {"endpoints": unready}, {"endpoints": endpoints}),
        changed(cluster, apps, older, newer),
        changed(cluster, roles, {"rules": rules[:1]}, {"rules": rules}),
    ):
        cluster.request("DELETE", f"{kinds}/{name}")
        until(lambda: "CRDs/tcproutes.specs.smi-spec.io" in verified(live)[1], within=15)
        until(lambda: "osm/Permissions of osm-injector" in verified(live)[1], within=15)
        status, found = verified(live)
        cluster.request("POST", kinds, {**crd, "metadata": {"name": name}, "status": None})
    until(lambda: verified(live)[0] == 0, within=30)
    ours = version.removeprefix("v")
    assert status == 1
    # What the injector itself says of its permissions comes a moment later.
    assert {place: each for place, each in found.items() if "/Pod osm-injector-0/" not in place} == {
        "osm/Services/osm-controller": ["Failure", "it has no ready endpoint", "-> see the probes of its pods"],
        "osm/Permissions of osm-injector": [
            "Failure",
            "it may not create: secrets",
            "it may not list, watch, patch: mutatingwebhookconfigurations.admissionregistration.k8s.io osm-webhook-osm",
            "-> install the chart again: its ClusterRoles and Roles bring them",
        ],
        "osm/Versions": [
            "Warning",
            f"this command is {ours}, Deployment osm-controller is {ours}, Deployment osm-injector is 0.0.9, "
            f"osm-controller-0 is {ours}, osm-injector-0 is {ours}",
            "-> upgrade what is behind",
        ],
        "CRDs/tcproutes.specs.smi-spec.io": [
            "Warning",
            "v1alpha4 is not served: objects of this kind have no effect",
            "-> kubectl apply -f charts/osm/crds",
        ],
    }


WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


def test_a_webhook_that_is_gone_is_missed(live: Live) -> None:
    found = live.cluster.request("GET", f"{WEBHOOKS}/osm-webhook-osm")
    live.cluster.request("DELETE", f"{WEBHOOKS}/osm-webhook-osm")
    try:
        until(lambda: verified(live)[0] == 1, within=10)
        until(lambda: "osm/Pod osm-injector-0/Probe ready" in verified(live)[1], within=10)
        _, all_found = verified(live)
    finally:
        again = {"name": "osm-webhook-osm", "labels": found["metadata"]["labels"]}
        live.cluster.request("POST", WEBHOOKS, found | {"metadata": again})
        live.programs["osm-injector-0"].until_ready()
    assert all_found["osm/Webhook osm-webhook-osm"] == [
        "Failure",
        "there is no such MutatingWebhookConfiguration: new pods get no sidecar",
        "-> install the chart again: it brings it",
    ]
    assert all_found["osm/Pod osm-injector-0/Probe ready"][:2] == [
        "Failure",
        "bundle: there is no MutatingWebhookConfiguration osm-webhook-osm: install the chart, which brings it",
    ]
