"""osm-injector as a process with the permissions of its chart, called by a real API server for real pods."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from osm_probes.admission.canary_review import canary_review
from osm_probes.foundation.ipv6 import has_global_ipv6_address
from osm_probes.mesh.identity import Identity, ProxyName
from osm_probes.mesh.labels import BOOTSTRAP_MAC, CERTIFICATE_EXPIRES
from osm_probes.mesh.proxy_uuid import UuidKey
from osm_probes.pki.authority import certificate_names
from tests.functional.programs import curl
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.injectors import (
    INJECTION,
    NAME,
    WEBHOOKS,
    Injector,
    cluster,
    create_pod,
    enrol,
    has_sidecar,
    label,
    running_injector,
    secrets,
)
from tests.kubernetes.manifests import bind, install
from tests.standin import until

__all__ = ["cluster", "running_injector"]  # fixtures
pytestmark = [pytest.mark.kubernetes, pytest.mark.netns]


def test_a_new_pod_has_a_sidecar_with_a_bootstrap_secret_of_its_own(running_injector: Injector) -> None:
    cluster = running_injector.cluster
    enrol(cluster, "shop")
    pod = create_pod(cluster, "shop")
    assert has_sidecar(pod)
    uuid = pod["metadata"]["labels"]["osm-proxy-uuid"]
    mounted = [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume]
    (secret,) = secrets(cluster, "shop")
    assert_proven(cluster, secret, uuid)
    assert mounted == [secret["metadata"]["name"]]
    assert secret["metadata"]["labels"] == {
        "osm-proxy-uuid": uuid,
        "app.kubernetes.io/managed-by": "osm-injector",
    }
    assert secret["type"] == "Opaque"
    bootstrap = _file(secret, "bootstrap.yaml")
    name = ProxyName.parse(bootstrap["node"]["id"], trust_domain="cluster.local")
    assert (name.uuid, str(name.identity)) == (uuid, "shop/seller")
    assert _certificate_name(secret) == bootstrap["node"]["id"]
    assert "PRIVATE KEY" not in str(bootstrap)


def assert_proven(cluster: ApiServer, secret: dict[str, Any], uuid: str) -> None:
    """The control plane's key proves the uuid and the Secret, and the certificate is valid for days."""
    ca_secret = cluster.request("GET", "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle")
    key, identity = UuidKey(base64.b64decode(ca_secret["data"]["proxy-uuid.key"])), Identity("shop", "seller")
    assert key.made(uuid, identity=identity)
    annotations = secret["metadata"]["annotations"]
    assert key.made_secret(annotations[BOOTSTRAP_MAC], name=secret["metadata"]["name"], identity=identity)
    left = datetime.fromisoformat(annotations[CERTIFICATE_EXPIRES]) - datetime.now(UTC)
    assert timedelta(days=6) < left <= timedelta(days=7)


def _file(secret: dict[str, Any], name: str) -> Any:
    return json.loads(base64.b64decode(secret["data"][name]))


def _certificate_name(secret: dict[str, Any]) -> str:
    """The name in the certificate that the sidecar uses for the ADS."""
    (resource,) = _file(secret, "ads-certificate.json")["resources"]
    return certificate_names(base64.b64decode(resource["tls_certificate"]["certificate_chain"]["inline_bytes"]))[-1]


@pytest.mark.parametrize(
    ("name", "namespace", "pod", "expected"),
    [
        ("enabled", {"annotation": "enabled"}, {}, True),
        ("yes", {"annotation": "yes"}, {}, True),
        ("no-annotation", {"annotation": ""}, {}, False),
        ("opted-in", {"annotation": ""}, {"annotation": "true"}, True),
        ("opted-out", {"annotation": "enabled"}, {"annotation": "no"}, False),
        ("ignored", {"annotation": "enabled", "ignore": "true"}, {"annotation": "true"}, False),
        ("hostnet", {"annotation": "enabled"}, {"hostNetwork": True}, False),
        ("other-mesh", {"annotation": "enabled", "monitored-by": "other"}, {"annotation": "true"}, False),
    ],
)
def test_namespace_and_pod_decide_about_the_sidecar(
    running_injector: Injector, name: str, namespace: dict[str, str], pod: dict[str, Any], expected: object
) -> None:
    enrol(running_injector.cluster, f"table-{name}", **namespace)
    assert has_sidecar(create_pod(running_injector.cluster, f"table-{name}", **pod)) is expected
    assert bool(secrets(running_injector.cluster, f"table-{name}")) is expected


def test_a_dry_run_gets_a_patch_and_creates_no_secret(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "dry")
    assert has_sidecar(create_pod(running_injector.cluster, "dry", query="?dryRun=All"))
    assert secrets(running_injector.cluster, "dry") == []


def test_no_pod_of_a_just_enrolled_namespace_is_admitted_without_a_sidecar(running_injector: Injector) -> None:
    for number in range(20):
        enrol(running_injector.cluster, f"new-{number}")
        assert has_sidecar(create_pod(running_injector.cluster, f"new-{number}"))


def test_no_pod_of_a_just_annotated_namespace_is_admitted_without_a_sidecar(running_injector: Injector) -> None:
    cluster = running_injector.cluster
    for number in range(20):
        enrol(cluster, f"annotated-{number}", annotation="")
        assert not has_sidecar(create_pod(cluster, f"annotated-{number}"))
        change = {"metadata": {"annotations": {INJECTION: "enabled"}}}
        path = f"/api/v1/namespaces/annotated-{number}"
        cluster.request("PATCH", path, change, content_type="application/merge-patch+json")
        assert has_sidecar(create_pod(cluster, f"annotated-{number}"))


def test_probes_are_served_by_ipv6_if_the_injector_has_an_ipv6_address(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "probed")
    create_pod(running_injector.cluster, "probed")
    (secret,) = secrets(running_injector.cluster, "probed")
    bootstrap = _file(secret, "bootstrap.yaml")
    (listener,) = bootstrap["static_resources"]["listeners"]
    assert bool(listener.get("additional_addresses")) is has_global_ipv6_address()


def test_a_pod_whose_bootstrap_secret_is_rejected_is_rejected_with_the_reason(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "full")
    quota: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"secrets": "0"}}}
    quota["metadata"] = {"name": "none", "namespace": "full"}
    # Set the status here, because no controller manager runs.
    quota["status"] = {"hard": {"secrets": "0"}, "used": {"secrets": "0"}}
    install(running_injector.cluster, [quota])
    # A quota takes effect a moment after its creation.
    until(lambda: "no sidecar: " in _rejection(running_injector.cluster, "full"), within=10)
    assert "quota" in _rejection(running_injector.cluster, "full")


def _rejection(cluster: ApiServer, namespace: str) -> str:
    """Why a pod is rejected; "" if it is admitted."""
    try:
        create_pod(cluster, namespace)
    except ApiServerError as error:
        return str(error)
    return ""


def test_a_pod_of_a_namespace_with_only_the_label_is_refused_with_the_command_that_helps(
    running_injector: Injector,
) -> None:
    program, cluster = running_injector.program, running_injector.cluster
    enrol(cluster, "complete")
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "label-only"}})
    label(cluster, "label-only")
    until(lambda: "cannot create resource" in _rejection(cluster, "label-only"), within=10)
    assert "to permit it, run: osm namespace add label-only --mesh-name osm" in _rejection(cluster, "label-only")
    # The other namespaces are not affected, so the injector stays ready.
    assert has_sidecar(create_pod(cluster, "complete"))
    warning = "warn: pods are refused in 1 of the mesh's namespaces, where bootstraps cannot be stored"
    until(lambda: warning in program.get("/health/ready?verbose"), within=10)
    assert program.get("/health/ready") == "Service is ready"
    problem = program.logged("pods are refused in namespaces where bootstraps cannot be stored")
    assert problem["error"] == "label-only: run osm namespace add label-only --mesh-name osm"
    bind(cluster, "osm-injector", "label-only")
    until(lambda: not _rejection(cluster, "label-only"), within=10)


def test_a_review_cannot_lead_the_injector_to_another_object_than_a_namespace(running_injector: Injector) -> None:
    cluster, program = running_injector.cluster, running_injector.program
    enrol(cluster, "real")
    labels = {"openservicemesh.io/monitored-by": "osm"}
    metadata = {"name": "forged", "namespace": "real", "labels": labels, "annotations": {INJECTION: "enabled"}}
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    review = json.loads(canary_review())
    review["request"] |= {"namespace": "real/configmaps/forged", "dryRun": False}
    url = f"https://127.0.0.1:{program.served_port}/mutate-pod-creation"
    answer = curl(url, "-k", "-H", "Content-Type: application/json", "-d", json.dumps(review))
    assert '"patch"' not in answer


def test_the_log_level_of_the_mesh_config_applies_to_the_next_sidecar(running_injector: Injector) -> None:
    cluster = running_injector.cluster
    enrol(cluster, "loud")
    config = "/apis/config.openservicemesh.io/v1alpha2/namespaces/osm-system/meshconfigs/osm-mesh-config"
    change = {"spec": {"sidecar": {"logLevel": "debug"}}}
    cluster.request("PATCH", config, change, content_type="application/merge-patch+json")
    until(lambda: "debug" in create_pod(cluster, "loud")["spec"]["containers"][-1]["args"], within=5)


def test_an_invalid_annotation_is_rejected_with_the_reason(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "odd")
    with pytest.raises(ApiServerError, match="use enabled, yes or true") as error:
        create_pod(running_injector.cluster, "odd", annotation="perhaps")
    assert error.value.status == 400


def test_an_overwritten_ca_bundle_is_repaired_within_2_s(running_injector: Injector) -> None:
    cluster, right = running_injector.cluster, running_injector.bundle()
    for wrong in ("", base64.b64encode(cluster.pki.root_pem).decode()):
        change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": wrong}]
        cluster.request("PATCH", WEBHOOKS, change, content_type="application/json-patch+json")
        started = time.monotonic()
        until(lambda: running_injector.bundle() == right, within=5)
        assert time.monotonic() - started < 2
    running_injector.program.until_ready()


def test_without_its_webhook_configuration_the_injector_is_alive_and_not_ready(running_injector: Injector) -> None:
    program, cluster = running_injector.program, running_injector.cluster
    cluster.request("DELETE", WEBHOOKS)
    until(
        lambda: "[-]bundle failed: there is no MutatingWebhookConfiguration" in program.get("/health/ready?verbose"),
        within=5,
    )
    assert running_injector.healthz() == ""
    assert program.get("/health/alive") == "Service is alive"
    cluster.create(running_injector.configuration)
    program.until_ready()
    until(lambda: running_injector.healthz() == "Health OK", within=5)


def test_an_injector_that_may_not_create_secrets_is_not_ready_and_its_log_names_the_permission(
    running_injector: Injector,
) -> None:
    program, cluster = running_injector.program, running_injector.cluster
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/osm-injector-bootstrap-secrets-osm-system"
    rules = cluster.request("GET", role)["rules"]
    content_type = "application/merge-patch+json"
    cluster.request("PATCH", role, {"rules": []}, content_type=content_type)
    missing = "bootstraps cannot be stored: allow its user to create secrets"
    try:
        refused = "[-]review failed: the webhook refuses the synthetic pod\n"
        until(lambda: refused in program.get("/health/ready?verbose"), within=10)
        until(lambda: [fall for fall in program.lines("a probe fell") if missing in fall.get("detail", "")], within=10)
        until(lambda: running_injector.healthz() == "", within=2)
        assert program.get("/health/alive") == "Service is alive"
    finally:
        cluster.request("PATCH", role, {"rules": rules}, content_type=content_type)
    program.until_ready()
    until(lambda: running_injector.healthz() == "Health OK", within=5)  # each port caches its result for 250 ms


def test_the_loss_of_the_api_server_changes_no_probe(running_injector: Injector) -> None:
    cluster, program = running_injector.cluster, running_injector.program
    cluster.kill()
    try:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert (program.get("/health/alive"), program.get("/health/ready")) == (
                "Service is alive",
                "Service is ready",
            )
            assert running_injector.healthz() == "Health OK"
            time.sleep(0.2)
        assert "what was last read is used: namespaces cannot be watched: the API server" in program.get(
            "/health/ready?verbose"
        )
    finally:
        cluster.start()
    enrol(cluster, "after")
    until(lambda: has_sidecar(create_pod(cluster, "after")), within=15)


def test_while_no_injector_runs_only_pods_of_the_control_plane_are_admitted(
    running_injector: Injector, tmp_path: Path
) -> None:
    cluster = running_injector.cluster
    enrol(cluster, "waiting")
    configuration = running_injector.configuration
    cluster.request("DELETE", WEBHOOKS)
    configuration["webhooks"][0]["clientConfig"]["url"] = f"https://{NAME}:1/mutate-pod-creation"
    cluster.create(configuration)
    try:
        with pytest.raises(ApiServerError, match="failed calling webhook"):
            create_pod(cluster, "waiting")
        assert not has_sidecar(create_pod(cluster, "osm-system"))
    finally:
        cluster.request("DELETE", WEBHOOKS)
        cluster.create(running_injector.configuration)
        running_injector.program.until_ready()
