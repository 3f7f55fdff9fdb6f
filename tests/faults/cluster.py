"""A row's cluster: a real API server in its namespace, the mesh in it, and what happened there while it was away."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from osm_probes.canary.ads import ask_ads
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary
from osm_probes.mesh.ports import REVIEW_PATH
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.dial import SERVER_NAME
from tests.faults.ask import WEBHOOK_NAME
from tests.faults.identity import TRIES, credentials, pods, proxy
from tests.faults.row import FaultError, Program
from tests.faults.stage import ADS_PORT, BOOKSTORE, WEBHOOK_PORT, Stage
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.hosts import naming_this_machine
from tests.kubernetes.manifests import documents, install, install_crds, permissions, template

SECRETS: Final = "/api/v1/namespaces/osm-system/secrets"
_DELETED: Final = 100
_LATE: Final = TRIES + _DELETED
"""The number of the proxy whose pod comes when all is over."""
_CAUGHT_UP_WITHIN: Final = 20.0


def api(stage: Stage) -> ApiServer:
    """The row's API server."""
    if stage.api is None:
        raise FaultError("the row has no cluster")
    return stage.api


@contextlib.contextmanager
def cluster(stage: Stage) -> Iterator[None]:
    """A cluster with the mesh's objects and the CA; the program is one of its users."""
    private = naming_this_machine(WEBHOOK_NAME, folder=stage.folder)
    server = ApiServer(stage.folder / "kubernetes", where=stage.place.command(*private), reach=stage.place.inside)
    stage.api = server
    try:
        server.start()
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}})
        install_crds(server)
        store_ca(stage)
        crowd = json.loads(pods(_DELETED))["items"]
        install(server, [*permissions(stage.row.program.value), *documents(BOOKSTORE), *crowd])
        speak_to(stage, server.url)
        yield
    finally:
        server.end()


@contextlib.contextmanager
def injecting_cluster(stage: Stage) -> Iterator[None]:
    """The same with the chart's webhook; truth is what becomes of a pod that the API server is asked to create."""
    with cluster(stage):
        api(stage).create(webhook_configuration())
        stage.truth = ("pod", api(stage).port, api(stage).pki.folder)
        yield


def webhook_configuration() -> dict[str, Any]:
    """The chart's, asked by an address: there is no network of Services."""
    (document,) = template("osm-injector-webhook")
    document["webhooks"][0]["clientConfig"] = {"url": f"https://{WEBHOOK_NAME}:{WEBHOOK_PORT}{REVIEW_PATH}"}
    return document


def speak_to(stage: Stage, url: str) -> None:
    """Let the program use the API server at this address."""
    user = f"system:serviceaccount:osm-system:{stage.row.program.value}"
    kubeconfig = api(stage).kubeconfig_for(user, "system:serviceaccounts", url=url)
    stage.source = [
        *("--kubeconfig", str(kubeconfig), "--mesh-name=osm", "--osm-namespace=osm-system"),
        "--ca-bundle-secret-name=osm-ca-bundle",
    ]
    if stage.row.program is Program.INJECTOR:
        stage.source.append("--webhook-config-name=osm-webhook-osm")


def store_ca(stage: Stage) -> None:
    """Put the CA that truth's clients know into its Secret."""
    data = {name: base64.b64encode((stage.ca / name).read_bytes()).decode() for name in ("ca.crt", "private.key")}
    api(stage).request("POST", SECRETS, {"metadata": {"name": "osm-ca-bundle"}, "data": data})


def take_ca(stage: Stage) -> bool:
    """Let truth's clients know the CA that somebody made; whether there is one."""
    try:
        data = api(stage).request("GET", f"{SECRETS}/osm-ca-bundle")["data"]
    except ApiServerError:
        return False
    for name, content in data.items():
        (stage.ca / name).write_bytes(base64.b64decode(content))
    return True


def change_much(stage: Stage) -> None:
    """100 pods go, behind the back of whatever the API server is just now."""
    for number in range(TRIES, TRIES + _DELETED):
        api(stage).remove(f"pods/bookbuyer/crowd-{number}")


def expect_caught_up(stage: Stage) -> None:
    """Proxies of pods that went are refused, and one whose pod comes now is served. Raises FaultError."""
    name = proxy(_LATE)
    pod: dict[str, Any] = json.loads(pods(_DELETED + 1))["items"][_LATE]
    api(stage).eventually("POST", f"/api/v1/namespaces/{name.identity.namespace}/pods", pod)
    stage.eventually(lambda: _serves(stage, _LATE), what="a new pod's proxy is served", within=_CAUGHT_UP_WITHIN)
    for number in (TRIES, TRIES + _DELETED - 1):
        if _serves(stage, number):
            raise FaultError(f"the proxy of crowd-{number}, whose pod went meanwhile, is still served")


def _serves(stage: Stage, number: int) -> bool:
    """Asked as a canary asks, since grpc bears no second event loop in a process."""
    known = credentials(stage.ca, proxy(number))
    asks = AdsCanary(
        address="127.0.0.1", port=ADS_PORT, server_name=SERVER_NAME, root_pem=known.root_pem,
        chain_pem=known.certificate.chain_pem, key_pem=known.certificate.key_pem,
        request=DiscoveryRequest(type_url=CLUSTER).SerializeToString(), expected=CLUSTER.encode(),
    )  # fmt: skip
    try:
        stage.place.inside(lambda: asyncio.run(ask_ads(asks, within=3)))
    except UnhealthyError:
        return False
    return True
