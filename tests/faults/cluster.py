"""A row's Kubernetes cluster: a real API server in the row's namespace, the mesh's objects, and changes to them."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

from osm_probes.canary.ads import check_ads
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary
from osm_probes.mesh.ports import REVIEW_PATH
from tests.ads.client import SERVER_NAME
from tests.faults.client import WEBHOOK_NAME
from tests.faults.identity import TRIES, credentials, pods, proxy
from tests.faults.proxies import FIRST_CLUSTERS
from tests.faults.row import FaultError, Program
from tests.faults.testbed import ADS_PORT, BOOKSTORE, WEBHOOK_PORT, FaultTestbed
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.hosts import resolve_to_this_machine
from tests.kubernetes.manifests import bootstrap_permissions, documents, install, install_crds, permissions, template

SECRETS: Final = "/api/v1/namespaces/osm-system/secrets"
_DELETED_PODS: Final = 100
_NEW_PROXY: Final = TRIES + _DELETED_PODS
"""The number of the proxy whose pod is created after the fault."""
_RESYNC_WITHIN: Final = 20.0


def api(testbed: FaultTestbed) -> ApiServer:
    """The row's API server."""
    if testbed.api is None:
        raise FaultError("the row has no cluster")
    return testbed.api


@contextlib.contextmanager
def cluster(testbed: FaultTestbed) -> Iterator[None]:
    """Start a cluster with the mesh's objects and the CA; the program connects to it."""
    private = resolve_to_this_machine(WEBHOOK_NAME, folder=testbed.folder)
    server = ApiServer(
        testbed.folder / "kubernetes",
        command_prefix=testbed.netns.command(*private),
        run_in_network=testbed.netns.inside,
    )
    testbed.api = server
    try:
        server.start()
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}})
        install_crds(server)
        store_ca(testbed)
        extra_pods = json.loads(pods(_DELETED_PODS))["items"]
        program = testbed.row.program.value
        roles = [*permissions(program), *bootstrap_permissions(program, "bookstore", "bookbuyer")]
        install(server, [*documents(BOOKSTORE), *extra_pods, *roles])
        use_api_server(testbed, server.url)
        yield
    finally:
        server.end()


@contextlib.contextmanager
def injecting_cluster(testbed: FaultTestbed) -> Iterator[None]:
    """The same with the chart's webhook configuration. The real client creates pods through the API server."""
    with cluster(testbed):
        api(testbed).create(webhook_configuration())
        testbed.truth = ("pod", api(testbed).port, api(testbed).pki.folder)
        yield


def webhook_configuration() -> dict[str, Any]:
    """The chart's webhook configuration with a URL, because this cluster has no Service network."""
    (document,) = template("osm-injector-webhook")
    document["webhooks"][0]["clientConfig"] = {"url": f"https://{WEBHOOK_NAME}:{WEBHOOK_PORT}{REVIEW_PATH}"}
    return document


def use_api_server(testbed: FaultTestbed, url: str) -> None:
    """Make the program use the API server at this address."""
    user = f"system:serviceaccount:osm-system:{testbed.row.program.value}"
    kubeconfig = api(testbed).kubeconfig_for(user, "system:serviceaccounts", url=url)
    testbed.source = [
        *("--kubeconfig", str(kubeconfig), "--mesh-name=osm", "--osm-namespace=osm-system"),
        "--ca-bundle-secret-name=osm-ca-bundle",
    ]
    if testbed.row.program is Program.INJECTOR:
        testbed.source.append("--webhook-config-name=osm-webhook-osm")


def store_ca(testbed: FaultTestbed) -> None:
    """Store the CA of the real clients in its Secret."""
    data = {name: base64.b64encode((testbed.ca / name).read_bytes()).decode() for name in ("ca.crt", "private.key")}
    api(testbed).request("POST", SECRETS, {"metadata": {"name": "osm-ca-bundle"}, "data": data})


def copy_ca(testbed: FaultTestbed) -> bool:
    """Give the real clients the CA from its Secret. Returns whether there is one."""
    try:
        data = api(testbed).request("GET", f"{SECRETS}/osm-ca-bundle")["data"]
    except ApiServerError:
        return False
    for name, content in data.items():
        (testbed.ca / name).write_bytes(base64.b64decode(content))
    return True


def delete_pods(testbed: FaultTestbed) -> None:
    """Delete 100 pods directly in etcd, whatever state the API server is in."""
    for number in range(TRIES, TRIES + _DELETED_PODS):
        api(testbed).delete_from_etcd(f"pods/bookbuyer/proxy-{number}")


def check_resynced(testbed: FaultTestbed) -> None:
    """Check that proxies of deleted pods are refused, and that a new pod's proxy is served. Raises FaultError."""
    name = proxy(_NEW_PROXY)
    pod: dict[str, Any] = json.loads(pods(_DELETED_PODS + 1))["items"][_NEW_PROXY]
    api(testbed).eventually("POST", f"/api/v1/namespaces/{name.identity.namespace}/pods", pod)
    testbed.eventually(
        lambda: _is_served(testbed, _NEW_PROXY), what="a new pod's proxy is served", within=_RESYNC_WITHIN
    )
    for number in (TRIES, TRIES + _DELETED_PODS - 1):
        if _is_served(testbed, number):
            raise FaultError(f"the proxy of proxy-{number}, whose pod was deleted, is still served")


def _is_served(testbed: FaultTestbed, number: int) -> bool:
    """Whether the ADS serves this proxy. Uses the canary's client: grpc cannot run a second event loop in a process."""
    own_credentials = credentials(testbed.ca, proxy(number))
    canary = AdsCanary(
        address="127.0.0.1", port=ADS_PORT, server_name=SERVER_NAME, root_pem=own_credentials.root_pem,
        chain_pem=own_credentials.certificate.chain_pem, key_pem=own_credentials.certificate.key_pem,
        steps=FIRST_CLUSTERS,
    )  # fmt: skip
    try:
        testbed.netns.inside(lambda: asyncio.run(check_ads(canary, within=3)))
    except UnhealthyError:
        return False
    return True
