"""Bootstrap Secrets are created in dry runs in a real API server."""

import asyncio
from typing import Any

import pytest

from osm_probes.cluster.bootstrap_rehearsal import BootstrapRehearsal
from osm_probes.foundation.latest import Latest
from osm_probes.kube.client import KubernetesClient, Response
from osm_probes.kube.connect import connect
from osm_probes.mesh.labels import MONITORED_BY
from osm_probes.mesh.mesh import Mesh, NamespaceMetadata
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install
from tests.standin import until

pytestmark = pytest.mark.kubernetes
NONE: frozenset[str] = frozenset()


def mesh(*names: str) -> Latest[Mesh | None]:
    """A mesh with these namespaces."""
    return Latest(Mesh(namespaces={name: NamespaceMetadata({MONITORED_BY: "osm"}) for name in names}))


def rehearsal(
    client: KubernetesClient, *names: str, own: str = "default", denied: frozenset[str] = NONE
) -> BootstrapRehearsal:
    return BootstrapRehearsal(client, mesh(*names), osm_namespace=own, denied=Latest(denied), within=5)


def create_namespaces(server: ApiServer, prefix: str, count: int) -> list[str]:
    names = [f"{prefix}-{number:02}" for number in range(count)]
    for name in names:
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return names


def forbid_secrets(server: ApiServer, namespace: str) -> None:
    """A quota that permits no Secret. Its status is set here, because no controller manager runs."""
    limits = {"hard": {"secrets": "0"}}
    quota: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": limits}
    quota |= {"metadata": {"name": "none", "namespace": namespace}, "status": {**limits, "used": {"secrets": "0"}}}
    install(server, [quota])
    until(lambda: _is_refused(server, namespace), within=10)


def _is_refused(server: ApiServer, namespace: str) -> bool:
    try:
        server.request("POST", f"/api/v1/namespaces/{namespace}/secrets?dryRun=All", {"metadata": {"name": "x"}})
    except Exception:
        return True
    return False


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the POST requests that clients send from now on."""
    sent: list[str] = []
    send = KubernetesClient.send

    async def recorded(self: KubernetesClient, method: str, path: str, **options: Any) -> Response:
        if method == "POST":
            assert options["query"] == {"dryRun": "All"}
            sent.append(path)
        return await send(self, method, path, **options)

    monkeypatch.setattr(KubernetesClient, "send", recorded)
    return sent


async def test_namespaces_take_turns_and_a_refusing_one_is_found_and_named(
    api_server: ApiServer, requests: list[str]
) -> None:
    names = await asyncio.to_thread(create_namespaces, api_server, "turns", 12)
    await asyncio.to_thread(forbid_secrets, api_server, names[8])
    async with connect(str(api_server.kubeconfig)) as client:
        trial = rehearsal(client, *names)
        for _ in range(3):
            await trial.rehearse()
        assert len(requests) == 15
        assert {path.split("/")[4] for path in requests} == set(names)
        assert not trial.problem.value
        assert set(trial.refused.value) == {names[8]}
        assert "exceeded quota" in trial.warning.detail
        assert names[8] not in trial.warning.summary
    assert api_server.request("GET", f"/api/v1/namespaces/{names[0]}/secrets")["items"] == []


async def test_only_if_each_namespace_refuses_it_is_a_problem(api_server: ApiServer) -> None:
    names = await asyncio.to_thread(create_namespaces, api_server, "all", 8)
    for name in names[:7]:
        await asyncio.to_thread(forbid_secrets, api_server, name)
    async with connect(str(api_server.kubeconfig)) as client:
        trial = rehearsal(client, *names)
        await trial.rehearse()
        assert not trial.problem.value
        await asyncio.to_thread(forbid_secrets, api_server, names[7])
        await trial.rehearse()
        assert "each of the 8 namespaces that were tried refuses" in trial.problem.value.summary
        assert names[7] in trial.problem.value.detail


async def test_a_namespace_in_which_a_real_bootstrap_failed_is_tried_first(
    api_server: ApiServer, requests: list[str]
) -> None:
    names = await asyncio.to_thread(create_namespaces, api_server, "hint", 12)
    async with connect(str(api_server.kubeconfig)) as client:
        trial = rehearsal(client, *names)
        for name in ("gone", names[11]):
            trial.store_failed(name)
        await trial.rehearse()
    assert requests[0] == f"/api/v1/namespaces/{names[11]}/secrets"


async def test_a_namespace_that_is_gone_or_denied_says_nothing(api_server: ApiServer) -> None:
    async with connect(str(api_server.kubeconfig)) as client:
        gone = rehearsal(client, "never-created")
        await gone.rehearse()
        assert not gone.problem.value
        assert not gone.refused.value
        denied = rehearsal(client, "never-created", denied=frozenset({"never-created"}))
        await denied.rehearse()
        assert not denied.problem.value


async def test_a_missing_permission_says_nothing_because_a_restarted_api_server_knows_no_permissions_for_a_moment(
    api_server: ApiServer,
) -> None:
    names = await asyncio.to_thread(create_namespaces, api_server, "forbidden", 2)
    async with connect(str(api_server.kubeconfig_for("nobody"))) as client:
        trial = rehearsal(client, *names)
        await trial.rehearse()
        assert not trial.problem.value
        assert not trial.refused.value


async def test_without_a_namespace_in_the_mesh_the_own_one_is_tried(api_server: ApiServer, requests: list[str]) -> None:
    async with connect(str(api_server.kubeconfig)) as client:
        trial = rehearsal(client)
        assert trial.problem.value  # not tried yet
        await trial.rehearse()
        assert not trial.problem.value
    assert requests == ["/api/v1/namespaces/default/secrets"]


async def test_an_api_server_that_is_away_changes_nothing(own_api_server: ApiServer) -> None:
    async with connect(str(own_api_server.kubeconfig)) as client:
        trial = rehearsal(client)
        await trial.rehearse()
        await asyncio.to_thread(own_api_server.kill)
        await trial.rehearse()
        assert not trial.problem.value
