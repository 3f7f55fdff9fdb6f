"""osm-injector with --client-ca, and a real API server with the configuration that docs/webhook-clients.md shows."""

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.pki.authority import Authority
from tests.functional.programs import curl
from tests.kubernetes.apiserver import ApiServer, ApiServerError, running_api_server
from tests.kubernetes.hosts import resolve_to_this_machine
from tests.kubernetes.injectors import NAME, Injector, create_pod, enrol, has_sidecar, injector
from tests.kubernetes.manifests import BOOKSTORE, bootstrap_permissions, documents, install_crds, permissions
from tests.standin import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.netns]
CLIENTS = Authority.create("webhook clients")
REVIEW = "/mutate-pod-creation"


def admission_configuration(folder: Path, *, host: str, clients: Authority) -> Path:
    """Files with which the API server presents a certificate of `clients` to the webhook at this host and port."""
    certificate = clients.issue("kube-apiserver", validity=timedelta(hours=1))
    (folder / "client.crt").write_bytes(certificate.chain_pem)
    (folder / "client.key").write_bytes(certificate.key_pem)
    user = {"client-certificate": str(folder / "client.crt"), "client-key": str(folder / "client.key")}
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [{"name": host, "user": user}]}
    (folder / "webhooks.kubeconfig").write_text(json.dumps(kubeconfig))
    plugin = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(folder / "webhooks.kubeconfig"),
    }
    file = folder / "admission.yaml"
    file.write_text(
        json.dumps({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [{"name": "MutatingAdmissionWebhook", "configuration": plugin}],
        })
    )  # fmt: skip
    return file


@pytest.fixture(scope="module")
def port() -> int:
    """A port for the webhook, which must be known before the API server starts."""
    with socket.create_server(("", 0)) as free:
        number: int = free.getsockname()[1]
    return number


@pytest.fixture(scope="module")
def cluster(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server that presents a client certificate to the webhook at this port."""
    folder = tmp_path_factory.mktemp("cluster")
    private = resolve_to_this_machine(NAME, folder=folder)
    configuration = admission_configuration(folder, host=f"{NAME}:{port}", clients=CLIENTS)
    flags = (f"--admission-control-config-file={configuration}",)
    with running_api_server(folder / "kubernetes", command_prefix=private, arguments=flags) as server:
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}})
        install_crds(server)
        mesh_configs = [document for document in documents(BOOKSTORE) if document["kind"] == "MeshConfig"]
        roles = [*permissions("osm-injector"), *bootstrap_permissions("osm-injector")]
        for document in [*roles, *mesh_configs]:
            server.create(document)
        yield server


@pytest.fixture(scope="module")
def client_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of --client-ca."""
    file = tmp_path_factory.mktemp("client-ca") / "ca.crt"
    file.write_bytes(CLIENTS.root_pem)
    return file


@pytest.fixture(scope="module")
def guarded(
    cluster: ApiServer, port: int, client_ca: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Injector]:
    """An injector with --client-ca, with the chart's webhook configuration."""
    flags = (f"--webhook-port={port}", f"--client-ca={client_ca}")
    with injector(cluster, tmp_path_factory.mktemp("injector"), *flags) as running:
        cluster.create(running.configuration)
        running.program.until_ready()
        yield running


def test_the_api_server_gets_its_reviews_answered(guarded: Injector) -> None:
    enrol(guarded.cluster, "shop")
    assert has_sidecar(create_pod(guarded.cluster, "shop"))
    assert guarded.healthz() == "Health OK"


def test_another_client_gets_no_review_and_nothing_is_stored(guarded: Injector) -> None:
    enrol(guarded.cluster, "quiet")
    url = f"https://127.0.0.1:{guarded.program.served_port}{REVIEW}"
    answer = curl(url, "-k", "-i", "--data", "{}", "--header", "Content-Type: application/json")
    assert answer.startswith("HTTP/1.1 403 Forbidden")
    assert guarded.cluster.request("GET", "/api/v1/namespaces/quiet/secrets")["items"] == []


def test_a_new_client_ca_is_used_without_a_restart(guarded: Injector, client_ca: Path) -> None:
    cluster = guarded.cluster
    enrol(cluster, "rotated")
    assert has_sidecar(create_pod(cluster, "rotated"))
    client_ca.write_bytes(Authority.create("other clients").root_pem)
    try:
        until(lambda: "failed calling webhook" in _rejection(cluster), within=30)
        guarded.program.until_ready()
    finally:
        client_ca.write_bytes(CLIENTS.root_pem)
    until(lambda: not _rejection(cluster), within=30)


def _rejection(cluster: ApiServer) -> str:
    """Why a pod is rejected; "" if it is admitted."""
    try:
        create_pod(cluster, "rotated")
    except ApiServerError as error:
        return str(error)
    return ""
