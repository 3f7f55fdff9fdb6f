"""osm-injector as a process with the permissions of its chart, called by a real API server for real pods."""

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from osm_probes.mesh.identity import ProxyName
from osm_probes.pki.authority import certificate_names
from tests.functional.programs import Program, curl, running
from tests.kubernetes.apiserver import ApiServer, ApiServerError, running_api_server
from tests.kubernetes.hosts import resolve_to_this_machine
from tests.kubernetes.manifests import BOOKSTORE, documents, install, install_crds, permissions, template
from tests.standin import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.netns]
NAME = "osm-injector.osm-system.svc"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/osm-webhook-osm"
INJECTION = "openservicemesh.io/sidecar-injection"


@dataclass(frozen=True)
class Injector:
    """A running injector with its cluster."""

    program: Program
    cluster: ApiServer

    @property
    def configuration(self) -> dict[str, Any]:
        """The chart's webhook configuration, with the program's URL in place of its Service."""
        (document,) = template("osm-injector-webhook")
        url = f"https://{NAME}:{self.program.served_port}/mutate-pod-creation"
        document["webhooks"][0]["clientConfig"] = {"url": url}
        return document

    def healthz(self) -> str:
        """The response of port 9090 to /healthz."""
        return curl(f"https://127.0.0.1:{self.program.served_port}/healthz", "-k")

    def bundle(self) -> str:
        """The CA bundle that the API server trusts."""
        client_config = self.cluster.request("GET", WEBHOOKS)["webhooks"][0]["clientConfig"]
        return str(client_config.get("caBundle", ""))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server that resolves the injector's Service name to this machine."""
    folder = tmp_path_factory.mktemp("cluster")
    private = resolve_to_this_machine(NAME, folder=folder)
    with running_api_server(folder / "kubernetes", command_prefix=private) as server:
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}})
        install_crds(server)
        mesh_configs = [document for document in documents(BOOKSTORE) if document["kind"] == "MeshConfig"]
        for document in [*permissions("osm-injector"), *mesh_configs]:
            server.create(document)
        yield server


@contextlib.contextmanager
def injector(cluster: ApiServer, folder: Path, *flags: str) -> Iterator[Injector]:
    """An injector that runs as its service account, with more flags."""
    user = cluster.kubeconfig_for("system:serviceaccount:osm-system:osm-injector", "system:serviceaccounts")
    source = (
        *("--kubeconfig", str(user), "--mesh-name=osm", "--osm-namespace=osm-system"),
        *("--ca-bundle-secret-name=osm-ca-bundle", "--webhook-config-name=osm-webhook-osm"),
    )
    folder.mkdir(exist_ok=True)
    with running("osm-injector", folder, *flags, source=source) as program:
        yield Injector(program, cluster)


@pytest.fixture(scope="module")
def running_injector(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injector]:
    """The injector that all tests share, with the chart's webhook configuration."""
    with injector(cluster, tmp_path_factory.mktemp("injector")) as shared:
        with contextlib.suppress(ApiServerError):
            cluster.request("DELETE", WEBHOOKS)
        cluster.create(shared.configuration)
        shared.program.until_ready()
        yield shared
        assert "is forbidden: User" not in shared.program.log.read_text()


def enrol(cluster: ApiServer, name: str, *, annotation: str = "enabled", **labels: str) -> None:
    """Create a namespace of the mesh."""
    all_labels = {"openservicemesh.io/monitored-by": "osm"} | {
        f"openservicemesh.io/{key}": v for key, v in labels.items()
    }
    metadata = {"name": name, "labels": all_labels, "annotations": {INJECTION: annotation} if annotation else {}}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def create_pod(
    cluster: ApiServer, namespace: str, *, query: str = "", annotation: str = "", **spec: Any
) -> dict[str, Any]:
    """Create a pod; the pod as the API server admitted it."""
    annotations = {INJECTION: annotation} if annotation else {}
    container = {"name": "app", "image": "app", "livenessProbe": {"httpGet": {"path": "/", "port": 80}}}
    pod = {
        "metadata": {"generateName": "shop-", "namespace": namespace, "annotations": annotations},
        "spec": {"serviceAccountName": "seller", "containers": [container], **spec},
    }
    return cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods{query}", pod)


def has_sidecar(pod: dict[str, Any]) -> bool:
    """Whether the pod has an Envoy container."""
    return "envoy" in [container["name"] for container in pod["spec"]["containers"]]


def secrets(cluster: ApiServer, namespace: str) -> list[dict[str, Any]]:
    """The Secrets of a namespace."""
    items: list[dict[str, Any]] = cluster.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return items


def test_a_new_pod_has_a_sidecar_with_a_bootstrap_secret_of_its_own(running_injector: Injector) -> None:
    cluster = running_injector.cluster
    enrol(cluster, "shop")
    pod = create_pod(cluster, "shop")
    assert has_sidecar(pod)
    uuid = pod["metadata"]["labels"]["osm-proxy-uuid"]
    mounted = [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume]
    (secret,) = secrets(cluster, "shop")
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
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/osm-injector-osm-system"
    rules = cluster.request("GET", role)["rules"]
    reduced = [rule for rule in rules if rule["resources"] != ["secrets"]]
    content_type = "application/merge-patch+json"
    cluster.request("PATCH", role, {"rules": reduced}, content_type=content_type)
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
