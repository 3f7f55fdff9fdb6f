"""Bootstrap Secrets in a real API server: owned by their pods, or deleted."""

import asyncio
from typing import Any

import pytest

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.foundation.latest import Latest
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.bootstraps import KEY, MERGE, owners, pod, pods_by_uuid, running_gc, secret, seller
from tests.kubernetes.manifests import allow
from tests.kubernetes.waiting import eventually
from tests.log_capture import capture_logs

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def uuids(api_server: ApiServer, namespace: str) -> list[str]:
    """The uuids of three proxies whose bootstrap Secrets exist, beside another Secret with a proxy's label."""
    made = [KEY.new_uuid(seller(namespace)) for _ in range(3)]
    for uuid in made:
        api_server.create(secret(namespace, uuid))
    api_server.create(secret(namespace, made[0], name="application"))
    return made


async def test_a_secret_gets_its_pod_as_owner_and_one_without_a_pod_is_deleted(
    api_server: ApiServer, namespace: str, uuids: list[str]
) -> None:
    pods = pods_by_uuid((uuids[0], pod(namespace, "a-uid")))
    is_leader = Latest(False)  # noqa: FBT003
    async with running_gc(api_server, pods, namespace, is_leader=is_leader):
        await asyncio.sleep(1.0)
        assert await owners(api_server, namespace) == {
            name: [] for name in (*map(bootstrap_secret_name, uuids), "application")
        }
        is_leader.set(True)
        expected = {bootstrap_secret_name(uuids[0]): ["a-uid"], "application": []}

        async def is_clean() -> bool:
            return await owners(api_server, namespace) == expected

        await eventually(is_clean, within=20)


async def test_nothing_is_deleted_while_the_pods_are_unknown(
    api_server: ApiServer, namespace: str, uuids: list[str]
) -> None:
    async with running_gc(api_server, None, namespace):
        await asyncio.sleep(4.0)
        assert len(await owners(api_server, namespace)) == len(uuids) + 1


async def test_nothing_is_deleted_outside_the_mesh(api_server: ApiServer, namespace: str, uuids: list[str]) -> None:
    async with running_gc(api_server, {}):
        await asyncio.sleep(4.0)
        assert len(await owners(api_server, namespace)) == len(uuids) + 1


async def test_a_secret_whose_pod_the_watch_missed_is_kept_and_gets_its_owner(
    api_server: ApiServer, namespace: str, uuids: list[str]
) -> None:
    metadata = {"name": "shop-1", "namespace": namespace, "labels": {"osm-proxy-uuid": uuids[1]}}
    spec = {"containers": [{"name": "a", "image": "a"}]}
    stored = api_server.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    async with running_gc(api_server, {}, namespace):
        expected = {bootstrap_secret_name(uuids[1]): [stored["metadata"]["uid"]], "application": []}

        async def is_clean() -> bool:
            return await owners(api_server, namespace) == expected

        await eventually(is_clean, within=20)


async def test_a_secret_gets_all_pods_with_its_uuid_as_owners(
    api_server: ApiServer, namespace: str, uuids: list[str]
) -> None:
    """With a copy of the pod as its only owner, the Secret would be deleted together with the copy."""
    pods = pods_by_uuid((uuids[0], pod(namespace, "original")), (uuids[0], pod(namespace, "copy", account="other")))
    async with running_gc(api_server, pods, namespace):

        async def is_owned() -> bool:
            return (await owners(api_server, namespace))[bootstrap_secret_name(uuids[0])] == ["original", "copy"]

        await eventually(is_owned, within=20)


async def test_a_secret_with_another_owner_or_without_a_change_is_not_written(
    api_server: ApiServer, namespace: str, uuids: list[str]
) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets/{bootstrap_secret_name(uuids[0])}"
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "other"}
    api_server.request("PATCH", path, {"metadata": {"ownerReferences": [owner]}}, content_type=MERGE)
    pods = pods_by_uuid(*((uuid, pod(namespace, f"of-{uuid}")) for uuid in uuids))
    async with running_gc(api_server, pods, namespace):
        expected = {bootstrap_secret_name(uuid): [f"of-{uuid}"] for uuid in uuids}

        async def is_clean() -> bool:
            return await owners(api_server, namespace) == expected | {
                bootstrap_secret_name(uuids[0]): ["other"],
                "application": [],
            }

        await eventually(is_clean, within=20)
        version = api_server.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["metadata"]["resourceVersion"]
        await asyncio.sleep(2.5)
        response = api_server.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
        assert all(int(found["metadata"]["resourceVersion"]) <= int(version) for found in response)


async def test_a_rejected_write_does_not_delay_other_secrets_and_is_logged_once(
    api_server: ApiServer, namespace: str, uuids: list[str]
) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "verbs": ["patch"],
            "resourceNames": [bootstrap_secret_name(uuids[2])],
        },
    ]
    allow(api_server, namespace, "restricted", rules)
    pods = pods_by_uuid(*((uuid, pod(namespace, "a-uid")) for uuid in uuids))
    with capture_logs() as lines:
        async with running_gc(api_server, pods, namespace, user="restricted"):

            async def is_done() -> bool:
                return (await owners(api_server, namespace))[bootstrap_secret_name(uuids[2])] == ["a-uid"]

            await eventually(is_done, within=20)
            await asyncio.sleep(2)
    (error,) = [line["error"] for line in lines if line["log_level"] == "warning"]
    assert error.endswith('; its user must be allowed to patch and delete secrets and list pods of API group ""')


async def test_a_namespace_without_permissions_is_logged_once_and_does_not_delay_the_others(
    api_server: ApiServer, namespace: str, new_namespace: Any
) -> None:
    closed = new_namespace()
    api_server.create(closed)
    closed_name = closed["metadata"]["name"]
    uuid = KEY.new_uuid(seller(namespace))
    api_server.create(secret(namespace, uuid))
    everything = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch", "patch", "delete"]}]
    allow(api_server, namespace, "gc", everything, only_there=True)
    pods = pods_by_uuid((uuid, pod(namespace, "a-uid")))
    with capture_logs() as lines:
        async with running_gc(api_server, pods, closed_name, namespace, user="gc") as collector:

            async def is_owned() -> bool:
                return (await owners(api_server, namespace))[bootstrap_secret_name(uuid)] == ["a-uid"]

            await eventually(is_owned, within=20)
            await asyncio.sleep(3)
            # No proxy is in the closed namespace, so a rotation of the CA need not wait for it.
            assert collector.distributed_trust
            (warning,) = [line for line in lines if line["log_level"] == "warning"]
            assert (warning["event"], warning["namespace"]) == ("bootstrap Secrets cannot be reconciled", closed_name)
            allowed = f'; its user must be allowed to list and watch secrets of API group "" in namespace {closed_name}'
            assert warning["error"].endswith(allowed)
            allow(api_server, closed_name, "gc", everything, only_there=True)

            async def is_logged() -> bool:
                return any(line["event"] == "bootstrap Secrets are reconciled again" for line in lines)

            await eventually(is_logged, within=30)
