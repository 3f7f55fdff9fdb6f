"""Bootstrap Secrets in a real API server: owned by their pods, or deleted."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.cluster.bootstrap_gc import BootstrapGarbageCollector
from osm_probes.cluster.bootstrap_secrets import CredentialIssuer
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.mesh.labels import TRUST_FINGERPRINT
from osm_probes.pki.authority import Authority, certificate_names
from osm_probes.pki.trust import Trust
from osm_probes.sources.objects import Pod, PodSpec
from osm_probes.sources.schema import Metadata
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.waiting import eventually
from tests.log_capture import capture_logs

pytestmark = pytest.mark.kubernetes
TRUST = Trust.of(Authority.create("osm-ca"))
UUIDS = [f"00000000-0000-0000-0000-{number:012d}" for number in range(3)]


@pytest.fixture
def namespace(api_server: ApiServer, new_namespace: Any) -> str:
    """A namespace with a bootstrap Secret for each proxy, and another Secret with a proxy's label."""
    manifest = new_namespace()
    api_server.create(manifest)
    name = str(manifest["metadata"]["name"])
    for uuid in UUIDS:
        _secret(api_server, name, bootstrap_secret_name(uuid), uuid)
    _secret(api_server, name, "application", UUIDS[0])
    return name


def _secret(server: ApiServer, namespace: str, name: str, uuid: str) -> None:
    metadata = {"name": name, "namespace": namespace, "labels": {"osm-proxy-uuid": uuid}}
    metadata["annotations"] = {TRUST_FINGERPRINT: TRUST.fingerprint}
    server.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})


def pod(namespace: str, name: str, uid: str) -> Pod:
    """A pod as the source knows it."""
    return Pod(metadata=Metadata(name=name, namespace=namespace, uid=uid), spec=PodSpec(service_account_name="seller"))


async def owners(server: ApiServer, namespace: str) -> dict[str, list[str]]:
    """The owners' uids of each Secret."""
    response = await asyncio.to_thread(server.request, "GET", f"/api/v1/namespaces/{namespace}/secrets")
    secrets = (secret["metadata"] for secret in response["items"])
    return {secret["name"]: [owner["uid"] for owner in secret.get("ownerReferences", [])] for secret in secrets}


@asynccontextmanager
async def running_gc(
    server: ApiServer, pods: Mapping[tuple[str, str], Pod] | None, is_leader: Latest[bool], *, user: str = ""
) -> AsyncGenerator[BootstrapGarbageCollector]:
    """A running garbage collector that waits for 2 s instead of 10 minutes."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        credentials = CredentialIssuer(Latest(TRUST), trust_domain="cluster.local", osm_namespace="osm-system")
        collector = BootstrapGarbageCollector(
            client, is_leader=is_leader, pods=lambda: pods, credentials=credentials, orphaned_after=2.0
        )
        async with background_tasks(run=collector.run()):
            yield collector


async def test_a_secret_gets_its_pod_as_owner_and_one_without_a_pod_is_deleted(
    api_server: ApiServer, namespace: str
) -> None:
    pods = {(namespace, UUIDS[0]): pod(namespace, "shop-0", "a-uid")}
    is_leader = Latest(False)  # noqa: FBT003
    async with running_gc(api_server, pods, is_leader):
        await asyncio.sleep(1.0)
        assert await owners(api_server, namespace) == {
            name: [] for name in (*map(bootstrap_secret_name, UUIDS), "application")
        }
        is_leader.set(True)
        expected = {bootstrap_secret_name(UUIDS[0]): ["a-uid"], "application": []}

        async def is_clean() -> bool:
            return await owners(api_server, namespace) == expected

        await eventually(is_clean, within=10)


async def test_nothing_is_deleted_while_the_pods_are_unknown(api_server: ApiServer, namespace: str) -> None:
    async with running_gc(api_server, None, Latest(True)):  # noqa: FBT003
        await asyncio.sleep(4.0)
        assert len(await owners(api_server, namespace)) == 4


async def test_a_secret_whose_pod_the_watch_missed_is_kept_and_gets_its_owner(
    api_server: ApiServer, namespace: str
) -> None:
    metadata = {"name": "shop-1", "namespace": namespace, "labels": {"osm-proxy-uuid": UUIDS[1]}}
    spec = {"containers": [{"name": "a", "image": "a"}]}
    stored = api_server.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    async with running_gc(api_server, {}, Latest(True)):  # noqa: FBT003
        expected = {bootstrap_secret_name(UUIDS[1]): [stored["metadata"]["uid"]], "application": []}

        async def is_clean() -> bool:
            return await owners(api_server, namespace) == expected

        await eventually(is_clean, within=10)


async def test_a_secret_with_another_owner_or_without_a_change_is_not_written(
    api_server: ApiServer, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets/{bootstrap_secret_name(UUIDS[0])}"
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "other"}
    content_type = "application/merge-patch+json"
    api_server.request("PATCH", path, {"metadata": {"ownerReferences": [owner]}}, content_type=content_type)
    pods = {(namespace, uuid): pod(namespace, "shop", f"of-{uuid}") for uuid in UUIDS}
    async with running_gc(api_server, pods, Latest(True)):  # noqa: FBT003
        expected = {bootstrap_secret_name(uuid): [f"of-{uuid}"] for uuid in UUIDS}

        async def is_clean() -> bool:
            return await owners(api_server, namespace) == expected | {
                bootstrap_secret_name(UUIDS[0]): ["other"],
                "application": [],
            }

        await eventually(is_clean, within=10)
        version = api_server.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["metadata"]["resourceVersion"]
        await asyncio.sleep(2.5)
        response = api_server.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
        assert all(int(secret["metadata"]["resourceVersion"]) <= int(version) for secret in response)


async def test_the_secrets_of_existing_pods_get_the_newest_trust(api_server: ApiServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    for uuid in UUIDS:
        change = {"metadata": {"annotations": {TRUST_FINGERPRINT: "other"}}, "data": {"bootstrap.yaml": "e30="}}
        content_type = "application/merge-patch+json"
        api_server.request("PATCH", f"{path}/{bootstrap_secret_name(uuid)}", change, content_type=content_type)
    pods = {(namespace, uuid): pod(namespace, "shop", f"of-{uuid}") for uuid in UUIDS[:2]}
    async with running_gc(api_server, pods, Latest(True)) as collector:  # noqa: FBT003

        async def is_done() -> bool:
            return collector.distributed_trust == TRUST.fingerprint

        await eventually(is_done, within=10)
        for uuid in UUIDS[:2]:
            secret = await asyncio.to_thread(api_server.request, "GET", f"{path}/{bootstrap_secret_name(uuid)}")
            assert secret["metadata"]["annotations"] == {TRUST_FINGERPRINT: TRUST.fingerprint}
            assert secret["data"]["bootstrap.yaml"] == "e30="
            certificate = json.loads(base64.b64decode(secret["data"]["ads-certificate.json"]))
            chain = certificate["resources"][0]["tls_certificate"]["certificate_chain"]["inline_bytes"]
            assert f"{uuid}.sidecar.seller.{namespace}.cluster.local" in certificate_names(base64.b64decode(chain))
        secret = await asyncio.to_thread(api_server.request, "GET", f"{path}/{bootstrap_secret_name(UUIDS[2])}")
        assert secret["metadata"]["annotations"] == {TRUST_FINGERPRINT: "other"}


async def test_a_rejected_write_does_not_delay_other_secrets_and_is_logged_once(
    api_server: ApiServer, namespace: str
) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "verbs": ["patch"],
            "resourceNames": [bootstrap_secret_name(UUIDS[2])],
        },
    ]
    _allow(api_server, namespace, "restricted", rules)
    pods = {(namespace, uuid): pod(namespace, "shop", "a-uid") for uuid in UUIDS}
    with capture_logs() as lines:
        async with running_gc(api_server, pods, Latest(True), user="restricted"):  # noqa: FBT003

            async def is_done() -> bool:
                return (await owners(api_server, namespace))[bootstrap_secret_name(UUIDS[2])] == ["a-uid"]

            await eventually(is_done, within=10)
            await asyncio.sleep(2)
    (error,) = [line["error"] for line in lines if line["log_level"] == "warning"]
    assert error.endswith('; its user must be allowed to patch and delete secrets and list pods of API group ""')


async def test_a_missing_permission_to_list_secrets_is_logged(api_server: ApiServer, namespace: str) -> None:
    with capture_logs() as lines:
        async with running_gc(api_server, {}, Latest(True), user="nobody"):  # noqa: FBT003
            await asyncio.sleep(2)
    (error,) = [line["error"] for line in lines if line["log_level"] == "warning"]
    assert error.endswith('; its user must be allowed to list and watch secrets of API group ""')


def _allow(server: ApiServer, namespace: str, user: str, rules: list[dict[str, Any]]) -> None:
    """Grant these rules to a user in all namespaces."""
    metadata = {"name": f"{user}-{namespace}"}
    group = "rbac.authorization.k8s.io"
    server.create({"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules})
    server.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": metadata["name"]},
            "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
        }
    )
