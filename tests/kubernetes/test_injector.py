"""osm-injector as a process, under its chart's permissions, asked by a real API server about real pods."""

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
from osm_probes.pki.authority import common_names
from tests.functional.programs import Program, curl, running
from tests.kubernetes.apiserver import ApiServer, ApiServerError, running_api_server
from tests.kubernetes.hosts import naming_this_machine
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
        """The chart's webhook configuration; without a network of Services it goes to the program itself."""
        (document,) = template("osm-injector-webhook")
        url = f"https://{NAME}:{self.program.served_port}/mutate-pod-creation"
        document["webhooks"][0]["clientConfig"] = {"url": url}
        return document

    def healthz(self) -> str:
        """What 9090 says about its health."""
        return curl(f"https://127.0.0.1:{self.program.served_port}/healthz", "-k")

    def bundle(self) -> str:
        """The CA bundle that the API server trusts."""
        found = self.cluster.request("GET", WEBHOOKS)["webhooks"][0]["clientConfig"]
        return str(found.get("caBundle", ""))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server to which the injector's Service name is this machine."""
    folder = tmp_path_factory.mktemp("cluster")
    private = naming_this_machine(NAME, folder=folder)
    with running_api_server(folder / "kubernetes", where=private) as server:
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}})
        install_crds(server)
        for each in [*permissions("osm-injector"), *(d for d in documents(BOOKSTORE) if d["kind"] == "MeshConfig")]:
            server.create(each)
        yield server


@contextlib.contextmanager
def injector(cluster: ApiServer, folder: Path) -> Iterator[Injector]:
    """An injector that runs in this cluster as its service account."""
    user = cluster.kubeconfig_for("system:serviceaccount:osm-system:osm-injector", "system:serviceaccounts")
    source = (
        *("--kubeconfig", str(user), "--mesh-name=osm", "--osm-namespace=osm-system"),
        *("--ca-bundle-secret-name=osm-ca-bundle", "--webhook-config-name=osm-webhook-osm"),
    )
    folder.mkdir(exist_ok=True)
    with running("osm-injector", folder, source=source) as program:
        yield Injector(program, cluster)


@pytest.fixture(scope="module")
def running_injector(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injector]:
    """One for all tests, with the chart's configuration in place."""
    with injector(cluster, tmp_path_factory.mktemp("injector")) as made:
        with contextlib.suppress(ApiServerError):
            cluster.request("DELETE", WEBHOOKS)
        cluster.create(made.configuration)
        made.program.until_ready()
        yield made
        assert "is forbidden: User" not in made.program.log.read_text()


def enrol(cluster: ApiServer, name: str, *, annotation: str = "enabled", **labels: str) -> None:
    """A namespace of the mesh."""
    given = {"openservicemesh.io/monitored-by": "osm"} | {f"openservicemesh.io/{key}": v for key, v in labels.items()}
    metadata = {"name": name, "labels": given, "annotations": {INJECTION: annotation} if annotation else {}}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def create_pod(
    cluster: ApiServer, namespace: str, *, query: str = "", annotation: str = "", **spec: Any
) -> dict[str, Any]:
    """The pod as the API server took it."""
    annotations = {INJECTION: annotation} if annotation else {}
    container = {"name": "app", "image": "app", "livenessProbe": {"httpGet": {"path": "/", "port": 80}}}
    pod = {
        "metadata": {"generateName": "shop-", "namespace": namespace, "annotations": annotations},
        "spec": {"serviceAccountName": "seller", "containers": [container], **spec},
    }
    return cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods{query}", pod)


def has_sidecar(pod: dict[str, Any]) -> bool:
    """Whether Envoy is in it."""
    return "envoy" in [each["name"] for each in pod["spec"]["containers"]]


def secrets(cluster: ApiServer, namespace: str) -> list[dict[str, Any]]:
    """The Secrets of a namespace."""
    found: list[dict[str, Any]] = cluster.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return found


def test_a_new_pod_has_a_sidecar_whose_bootstrap_is_stored_for_it_alone(running_injector: Injector) -> None:
    cluster = running_injector.cluster
    enrol(cluster, "shop")
    pod = create_pod(cluster, "shop")
    assert has_sidecar(pod)
    uuid = pod["metadata"]["labels"]["osm-proxy-uuid"]
    mounted = [each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each]
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
    assert _certified(secret) == bootstrap["node"]["id"]
    assert "PRIVATE KEY" not in str(bootstrap)


def _file(secret: dict[str, Any], name: str) -> Any:
    return json.loads(base64.b64decode(secret["data"][name]))


def _certified(secret: dict[str, Any]) -> str:
    """The name in the certificate with which the sidecar dials the ADS."""
    (resource,) = _file(secret, "ads-certificate.json")["resources"]
    return common_names(base64.b64decode(resource["tls_certificate"]["certificate_chain"]["inline_bytes"]))[-1]


@pytest.mark.parametrize(
    ("name", "namespace", "pod", "expected"),
    [
        ("enabled", {"annotation": "enabled"}, {}, True),
        ("yes", {"annotation": "yes"}, {}, True),
        ("unsaid", {"annotation": ""}, {}, False),
        ("asked", {"annotation": ""}, {"annotation": "true"}, True),
        ("opted-out", {"annotation": "enabled"}, {"annotation": "no"}, False),
        ("ignored", {"annotation": "enabled", "ignore": "true"}, {"annotation": "true"}, False),
        ("hostnet", {"annotation": "enabled"}, {"hostNetwork": True}, False),
        ("foreign", {"annotation": "enabled", "monitored-by": "other"}, {"annotation": "true"}, False),
    ],
)
def test_who_gets_a_sidecar(
    running_injector: Injector, name: str, namespace: dict[str, str], pod: dict[str, Any], expected: object
) -> None:
    enrol(running_injector.cluster, f"table-{name}", **namespace)
    assert has_sidecar(create_pod(running_injector.cluster, f"table-{name}", **pod)) is expected
    assert bool(secrets(running_injector.cluster, f"table-{name}")) is expected


def test_a_dry_run_is_answered_and_creates_nothing(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "dry")
    assert has_sidecar(create_pod(running_injector.cluster, "dry", query="?dryRun=All"))
    assert secrets(running_injector.cluster, "dry") == []


def test_a_namespace_that_was_enrolled_a_moment_ago_lets_nobody_in_bare(running_injector: Injector) -> None:
    for number in range(20):
        enrol(running_injector.cluster, f"new-{number}")
        assert has_sidecar(create_pod(running_injector.cluster, f"new-{number}"))


def test_a_namespace_that_asks_since_a_moment_ago_lets_nobody_in_bare(running_injector: Injector) -> None:
    cluster = running_injector.cluster
    for number in range(20):
        enrol(cluster, f"asks-{number}", annotation="")
        assert not has_sidecar(create_pod(cluster, f"asks-{number}"))
        change = {"metadata": {"annotations": {INJECTION: "enabled"}}}
        path = f"/api/v1/namespaces/asks-{number}"
        cluster.request("PATCH", path, change, form="application/merge-patch+json")
        assert has_sidecar(create_pod(cluster, f"asks-{number}"))


def test_a_pod_whose_bootstrap_is_refused_is_refused_with_words(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "full")
    quota: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"secrets": "0"}}}
    quota["metadata"] = {"name": "none", "namespace": "full"}
    # The status is the controller manager's, which is not here.
    quota["status"] = {"hard": {"secrets": "0"}, "used": {"secrets": "0"}}
    install(running_injector.cluster, [quota])
    # A quota counts a moment after it was made.
    until(lambda: "no sidecar: " in _refusal(running_injector.cluster, "full"), within=10)
    assert "quota" in _refusal(running_injector.cluster, "full")


def _refusal(cluster: ApiServer, namespace: str) -> str:
    """Why a pod is refused; "" if it is not."""
    try:
        create_pod(cluster, namespace)
    except ApiServerError as error:
        return str(error)
    return ""


def test_the_mesh_configs_log_level_counts_for_the_next_sidecar(running_injector: Injector) -> None:
    cluster = running_injector.cluster
    enrol(cluster, "loud")
    config = "/apis/config.openservicemesh.io/v1alpha2/namespaces/osm-system/meshconfigs/osm-mesh-config"
    change = {"spec": {"sidecar": {"logLevel": "debug"}}}
    cluster.request("PATCH", config, change, form="application/merge-patch+json")
    until(lambda: "debug" in create_pod(cluster, "loud")["spec"]["containers"][-1]["args"], within=5)


def test_a_bad_annotation_is_refused_with_words(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "odd")
    with pytest.raises(ApiServerError, match="say enabled, yes or true") as error:
        create_pod(running_injector.cluster, "odd", annotation="perhaps")
    assert error.value.status == 400


def test_a_bundle_that_somebody_overwrites_is_right_again_within_2_s(running_injector: Injector) -> None:
    cluster, right = running_injector.cluster, running_injector.bundle()
    for wrong in ("", base64.b64encode(cluster.pki.root_pem).decode()):
        change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": wrong}]
        cluster.request("PATCH", WEBHOOKS, change, form="application/json-patch+json")
        started = time.monotonic()
        until(lambda: running_injector.bundle() == right, within=5)
        assert time.monotonic() - started < 2
    running_injector.program.until_ready()


def test_without_its_configuration_it_is_alive_and_not_ready_and_says_why(running_injector: Injector) -> None:
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


def test_who_may_not_store_bootstraps_is_not_ready_and_says_which_permission_is_missing(
    running_injector: Injector,
) -> None:
    program, cluster = running_injector.program, running_injector.cluster
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/osm-injector-osm-system"
    rules = cluster.request("GET", role)["rules"]
    fewer = [rule for rule in rules if rule["resources"] != ["secrets"]]
    form = "application/merge-patch+json"
    cluster.request("PATCH", role, {"rules": fewer}, form=form)
    missing = "bootstraps cannot be stored: allow its user to create secrets"
    try:
        until(lambda: missing in program.get("/health/ready?verbose"), within=10)
        until(lambda: running_injector.healthz() == "", within=2)
        assert program.get("/health/alive") == "Service is alive"
    finally:
        cluster.request("PATCH", role, {"rules": rules}, form=form)
    program.until_ready()
    until(lambda: running_injector.healthz() == "Health OK", within=5)  # each port keeps its answer for 250 ms


def test_an_api_server_that_is_away_changes_nothing(running_injector: Injector) -> None:
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
        assert "warn: what was last read is used: " in program.get("/health/ready?verbose")
    finally:
        cluster.start()
    enrol(cluster, "after")
    until(lambda: has_sidecar(create_pod(cluster, "after")), within=15)


def test_where_no_injector_runs_the_control_plane_can_still_start_and_the_mesh_lets_nobody_in_bare(
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
