"""Controllers as processes with the permissions of the chart, against a real API server."""

import contextlib
import json
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.cluster.ca_secret_content import decode_ca_secret
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.pki.authority import Authority
from tests.ads.client import STREAM, Call, open_channel
from tests.functional.programs import Program, running
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import BOOKSTORE, documents, install, install_crds, permissions

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}}
PROXY = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))
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


def authority(cluster: ApiServer) -> Authority:
    """The mesh's CA."""
    content = decode_ca_secret(
        json.dumps(cluster.request("GET", "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle")).encode()
    )
    return Authority.load(content.root_pem, content.key_pem)


@contextlib.asynccontextmanager
async def stream(program: Program, cluster: ApiServer, name: ProxyName = PROXY) -> AsyncGenerator[Call, None]:
    """An ADS stream of a proxy with a valid certificate."""
    ca = authority(cluster)
    certificate = ca.issue(name.common_name("cluster.local"), validity=timedelta(hours=1))
    async with open_channel(program.served_port, certificate, root_pem=ca.root_pem) as channel:
        call: Call = channel.stream_stream(STREAM)()
        yield call
        call.cancel()
