"""osm-injector as a process with the permissions of its chart, and the requests of tests to its API server."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.functional.programs import Program, curl, running
from tests.kubernetes.apiserver import ApiServer, ApiServerError, running_api_server
from tests.kubernetes.hosts import resolve_to_this_machine
from tests.kubernetes.manifests import (
    BOOKSTORE,
    bind,
    bootstrap_permissions,
    documents,
    install_crds,
    permissions,
    template,
)

NAME = "osm-injector.osm-system.svc"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/osm-webhook-osm"
ACCOUNT = "system:serviceaccount:osm-system:osm-injector"
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
        roles = [*permissions("osm-injector"), *bootstrap_permissions("osm-injector")]
        for document in [*roles, *mesh_configs]:
            server.create(document)
        yield server


@contextlib.contextmanager
def injector(cluster: ApiServer, folder: Path, *flags: str, kubeconfig: Path | None = None) -> Iterator[Injector]:
    """An injector that runs as its service account, with more flags. kubeconfig: of another connection as this user."""
    user = kubeconfig or cluster.kubeconfig_for(ACCOUNT, "system:serviceaccounts")
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
        for line in shared.program.log.read_text().splitlines():
            assert "is forbidden: User" not in line or "label-only" in line


def enrol(cluster: ApiServer, name: str, *, annotation: str = "enabled", **labels: str) -> None:
    """Create a namespace of the mesh, as `osm namespace add` makes it."""
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    bind(cluster, "osm-injector", name)
    label(cluster, name, annotation=annotation, **labels)


def label(cluster: ApiServer, name: str, *, annotation: str = "enabled", **labels: str) -> None:
    """Add the labels and annotations of the mesh to a namespace."""
    all_labels = {"openservicemesh.io/monitored-by": "osm"} | {
        f"openservicemesh.io/{key}": v for key, v in labels.items()
    }
    metadata = {"labels": all_labels, "annotations": {INJECTION: annotation} if annotation else {}}
    path, content_type = f"/api/v1/namespaces/{name}", "application/merge-patch+json"
    cluster.request("PATCH", path, {"metadata": metadata}, content_type=content_type)


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
