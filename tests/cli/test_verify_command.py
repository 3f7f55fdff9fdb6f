"""`osm verify control-plane` against a real API server: its output, exit status, permissions and --fix."""

import io
import time
from pathlib import Path

import pytest

from tests.cli.command_result import CommandResult, run_osm
from tests.cli.control_plane_manifests import deployment, enrolled_namespace, namespace, patch_status, pod
from tests.cli.running_control_plane import NAMESPACE, RunningControlPlane
from tests.cli.verify_faults import HEALTHY, VERIFY, additional_pod, findings, grant, patched, verify
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install

pytestmark = pytest.mark.kubernetes


def test_a_healthy_control_plane_is_a_success_with_read_permissions(pristine: RunningControlPlane) -> None:
    reader = str(_reader(pristine.cluster))
    assert run_osm(*VERIFY, "--kubeconfig", reader) == CommandResult(0, HEALTHY, "")
    assert run_osm("doctor", "--kubeconfig", reader, "--osm-namespace", NAMESPACE) == CommandResult(0, HEALTHY, "")


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


def test_a_sidecar_is_found_with_its_mesh_and_fix_ends_the_enrolment(
    pristine: RunningControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = pristine.cluster
    path = f"/api/v1/namespaces/{NAMESPACE}"
    enrolment = enrolled_namespace(NAMESPACE, mesh="osm2")["metadata"]
    removal = {key: dict.fromkeys(enrolment[key]) for key in ("labels", "annotations")}
    with (
        additional_pod(pristine, "osm-controller-1", images=("flomesh/pipy:0.5.0",)),
        patched(cluster, path, {"metadata": enrolment}, {"metadata": removal}),
    ):
        result = run_osm(*VERIFY, cluster=cluster)
        assert result.status == 1
        assert SIDECAR in result.out
        assert (
            "│   ├── Own namespace is not injected: Failure\n"
            "│   │       Reason: namespace osm-system is enrolled in mesh osm2 with sidecar injection: "
            "its new pods get sidecars\n"
            "│   │       Suggestion: osm namespace remove osm-system --mesh-name osm2\n"
        ) in result.out
        assert run_osm(*VERIFY, cluster=cluster).out == result.out, "without --fix nothing changes"
        question = "Remove namespace osm-system from mesh osm2? [y/N] "
        for answer in ("n\n", ""):
            monkeypatch.setattr("sys.stdin", io.StringIO(answer))
            assert run_osm(*VERIFY, "--fix", cluster=cluster) == CommandResult(1, result.out, question)
        monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
        fixed = run_osm(*VERIFY, "--fix", "-o", "json", cluster=cluster)
        assert fixed.err == f"{question}Namespace [osm-system] successfully removed from mesh [osm2]\n"
        assert "openservicemesh.io/monitored-by" not in cluster.request("GET", path)["metadata"]["labels"]
        assert fixed.status == 1, "the pod still has its sidecar"
        assert findings(fixed)["osm/Pod osm-controller-1/No sidecar"] == [
            "Failure",
            "container pipy has the image flomesh/pipy:0.5.0",
            "namespace osm-system is not enrolled in a mesh now, but was when the pod was created",
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
    ids=["ignored", "disabled", "invalid", "unset"],
)
def test_an_enrolment_without_injection_is_not_a_fault(
    pristine: RunningControlPlane, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    metadata = namespace(
        NAMESPACE,
        labels={f"openservicemesh.io/{key}": value for key, value in {"monitored-by": "osm2", **labels}.items()},
    )["metadata"]
    metadata["annotations"] = {f"openservicemesh.io/{key}": value for key, value in annotations.items()}
    removal = {key: dict.fromkeys(metadata[key]) for key in ("labels", "annotations")}
    with patched(pristine.cluster, f"/api/v1/namespaces/{NAMESPACE}", {"metadata": metadata}, {"metadata": removal}):
        assert verify(pristine) == (0, {})


def test_a_second_mesh_without_pods_fails_beside_the_healthy_mesh(pristine: RunningControlPlane) -> None:
    cluster = pristine.cluster
    cluster.create(namespace("osm-system-2"))
    deployments = [deployment("osm-controller", namespace="osm-system-2", mesh="osm2")]
    quota = 'Error creating: pods "osm-controller-1" is forbidden: exceeded quota: small'
    install(cluster, deployments)
    event_object = cluster.create(
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
    status, found = verify(pristine)
    for document in (*deployments, event_object):
        cluster.delete(document)
    mesh = "Mesh osm2 in namespace osm-system-2"
    assert status == 1
    assert found[f"{mesh}/Deployment osm-controller"] == [
        "Failure",
        "0 of 1 pods are ready",
        f"FailedCreate: {quota} (9 times)",
    ]
    assert found[f"{mesh}/Deployment osm-injector"][1] == "it does not exist"
    assert found[f"{mesh}/Services/osm-controller"][1] == "the Service does not exist"
    assert {path.partition("/")[0] for path in found} == {mesh}


def test_a_pod_with_ipv6_that_was_injected_without_ipv6_rules_is_a_warning(pristine: RunningControlPlane) -> None:
    document = pod("bookstore-1", app="bookstore", namespace="default", mesh="osm")
    document["metadata"]["labels"]["osm-proxy-uuid"] = "00000000-0000-4000-8000-000000000001"
    args = ["-c", "iptables-restore --noflush <<'EOF'\n*nat\nCOMMIT\nEOF\n"]
    document["spec"] |= {
        "initContainers": [{"name": "osm-init", "image": "osm-init", "command": ["/bin/sh"], "args": args}],
        "serviceAccountName": "default",
    }
    install(pristine.cluster, [document])
    patch_status(pristine.cluster, document, podIP="10.0.0.9", podIPs=[{"ip": "10.0.0.9"}, {"ip": "fd00::9"}])
    found = verify(pristine)
    pristine.cluster.delete(document)
    assert found == (
        0,
        {
            "IPv6 rules": [
                "Warning",
                "default/bookstore-1: no policy applies to connections to fd00::9",
                "-> create these pods again: kubectl rollout restart deployment -n default",
            ]
        },
    )


def test_unreadable_objects_are_unknown_with_exit_status_2(pristine: RunningControlPlane) -> None:
    rules = [{"apiGroups": ["", "apps"], "resources": ["pods", "deployments", "events", "services"], "verbs": ["list"]}]
    grant(pristine.cluster, "onlooker", rules)
    result = run_osm(*VERIFY, "-o", "json", "--kubeconfig", str(pristine.cluster.kubeconfig_for("onlooker")))
    found = findings(result)
    assert result.status == 2
    assert {finding[0] for finding in found.values()} == {"Unknown"}
    assert found["osm/Own namespace is not injected"][1].endswith("; its user must be allowed to list namespaces")
    assert found["osm/Pod osm-controller-0/Log"][1].endswith("; its user must be allowed to get pods/log")


def test_an_unreachable_api_server_is_an_error(pristine: RunningControlPlane) -> None:
    nobody = pristine.cluster.kubeconfig_for("nobody", url="https://127.0.0.1:1")
    result = run_osm(*VERIFY, "--kubeconfig", str(nobody))
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Error: GET /apis/apps/v1/deployments: ")


def test_verify_of_twenty_namespaces_takes_less_than_three_seconds(pristine: RunningControlPlane) -> None:
    names = [f"shop-{number}" for number in range(20)]
    for name in names:
        pristine.cluster.create(enrolled_namespace(name, mesh="osm"))
    started = time.monotonic()
    assert run_osm(*VERIFY, cluster=pristine.cluster).status == 0
    took = time.monotonic() - started
    print(f"verify took {took:.2f} s")
    for name in names:  # The cluster is shared, and no controller of this API server deletes namespaces.
        patch = {"metadata": {"labels": {"openservicemesh.io/monitored-by": None}}}
        path, content_type = f"/api/v1/namespaces/{name}", "application/merge-patch+json"
        pristine.cluster.request("PATCH", path, patch, content_type=content_type)
    assert took < 3
