"""The API server of the tests itself: what other tests rely on."""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.namespaces import namespace
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.kube.errors import ForbiddenError
from tests.kubernetes.apiserver import ApiServer, ApiServerError, running_api_server
from tests.kubernetes.waiting import eventually

pytestmark = pytest.mark.kubernetes
RBAC = "rbac.authorization.k8s.io"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rig"}}


def test_a_created_object_can_be_read(api_server: ApiServer, new_namespace: Callable[..., dict[str, Any]]) -> None:
    created = api_server.create(new_namespace())["metadata"]
    assert api_server.request("GET", f"/api/v1/namespaces/{created['name']}")["metadata"]["uid"] == created["uid"]


def test_objects_survive_a_kill_and_a_start(own_api_server: ApiServer) -> None:
    own_api_server.create(NAMESPACE)
    own_api_server.kill()
    with pytest.raises(OSError, match="refused"):
        own_api_server.request("GET", "/api/v1/namespaces/rig")
    own_api_server.start()
    assert own_api_server.request("GET", "/api/v1/namespaces/rig")["metadata"]["name"] == "rig"


def test_an_api_server_outlives_the_thread_that_started_it(own_api_server: ApiServer) -> None:
    own_api_server.kill()
    asyncio.run(asyncio.to_thread(own_api_server.start))  # the thread ends with the loop
    time.sleep(0.2)  # a signal at the end of the thread would have arrived by now
    assert own_api_server.request("GET", "/version")["major"] == "1"


def test_a_hanging_api_server_does_not_respond_until_it_is_resumed(api_server: ApiServer) -> None:
    api_server.hang()
    try:
        with pytest.raises(TimeoutError):
            api_server.request("GET", "/version", within=0.5)
    finally:
        api_server.resume()
    started = time.monotonic()
    assert api_server.request("GET", "/version")["major"] == "1"
    assert time.monotonic() - started < 5


def test_an_error_has_the_status_of_the_response(api_server: ApiServer) -> None:
    with pytest.raises(ApiServerError, match="not found") as error:
        api_server.request("GET", "/api/v1/namespaces/nowhere")
    assert error.value.status == 404


async def test_a_user_may_do_only_what_a_role_allows(api_server: ApiServer) -> None:
    await asyncio.to_thread(api_server.create, role("rig-reader", resource="namespaces"))
    await asyncio.to_thread(api_server.create, binding("rig-reader", group="rig:readers"))
    async with (
        connect(str(api_server.kubeconfig_for("rig:stranger"))) as stranger,
        connect(str(api_server.kubeconfig_for("rig:reader", "rig:readers"))) as reader,
    ):
        with pytest.raises(ForbiddenError, match='User "rig:stranger" cannot list resource "namespaces"'):
            await stranger.request("GET", "/api/v1/namespaces")
        await eventually(lambda: may(reader, "/api/v1/namespaces"), within=10)  # RBAC takes effect after a moment
        with pytest.raises(ForbiddenError, match='User "rig:reader" cannot list resource "secrets"'):
            await reader.request("GET", "/api/v1/secrets")


@pytest.mark.netns
def test_an_api_server_can_run_in_its_own_network_namespace(tmp_path: Path) -> None:
    with (
        namespace(f"osm-rig-{secrets.token_hex(3)}") as network,
        running_api_server(
            tmp_path / "kubernetes", command_prefix=network.command(), run_in_network=network.inside
        ) as server,
    ):
        assert server.create(NAMESPACE)["metadata"]["name"] == "rig"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)


async def may(client: KubernetesClient, path: str) -> bool:
    try:
        await client.request("GET", path)
    except ForbiddenError:
        return False
    return True


def role(name: str, *, resource: str) -> dict[str, Any]:
    rule = {"apiGroups": [""], "resources": [resource], "verbs": ["list"]}
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}


def binding(name: str, *, group: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}],
    }
