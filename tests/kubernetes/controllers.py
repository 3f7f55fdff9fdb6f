"""Controllers as processes with the permissions of the chart, against a real API server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.programs import Program, running
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import BOOKSTORE, documents, install, install_crds, permissions

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}}
MERGE = "application/merge-patch+json"


@pytest.fixture
def cluster(own_api_server: ApiServer) -> ApiServer:
    """A cluster with the chart's CRDs and RBAC, and the bookstore."""
    own_api_server.create(NAMESPACE)
    install_crds(own_api_server)
    install(own_api_server, [*permissions("osm-controller"), *documents(BOOKSTORE)])
    return own_api_server


@contextlib.contextmanager
def controller(cluster: ApiServer, folder: Path, *flags: str) -> Iterator[Program]:
    """A controller that runs as its service account."""
    user = cluster.kubeconfig_for("system:serviceaccount:osm-system:osm-controller", "system:serviceaccounts")
    source = (
        *("--kubeconfig", str(user), "--mesh-name=osm", "--osm-namespace=osm-system"),
        "--ca-bundle-secret-name=osm-ca-bundle",
    )
    folder.mkdir(exist_ok=True)
    environment = {"CONTROLLER_POD_NAME": "osm-controller-0"}
    with running("osm-controller", folder, *flags, source=source, environment=environment) as program:
        yield program
