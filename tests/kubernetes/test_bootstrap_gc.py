"""The Secrets of sidecars, owned by their pods or deleted, in a real API server."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from osm_probes.admission.pod import secret_name
from osm_probes.cluster.bootstrap_gc import BootstrapGarbageCollector
from osm_probes.cluster.bootstrap_secrets import Credentials
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.mesh.labels import TRUST_MARK
from osm_probes.pki.authority import Authority, common_names
from osm_probes.pki.trust import Trust
from osm_probes.sources.objects import Pod, PodSpec
from osm_probes.sources.schema import Metadata
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.waiting import eventually

pytestmark = pytest.mark.kubernetes
TRUST = Trust.of(Authority.create("osm-ca"))
UUIDS = [f"00000000-0000-0000-0000-{number:012d}" for number in range(3)]


@pytest.fixture
def namespace(api_server: ApiServer, new_namespace: Any) -> str:
    """A namespace with a Secret for each of the proxies, and one that only looks like one."""
    manifest = new_namespace()
    api_server.create(manifest)
    name = str(manifest["metadata"]["name"])
    for uuid in UUIDS:
        _secret(api_server, name, secret_name(uuid), uuid)
    _secret(api_server, name, "application", UUIDS[0])
    return name


def _secret(server: ApiServer, namespace: str, name: str, uuid: str) -> None:
    metadata = {"name": name, "namespace": namespace, "labels": {"osm-proxy-uuid": uuid}}
    metadata["annotations"] = {TRUST_MARK: TRUST.mark}
    server.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})


def pod(namespace: str, name: str, uid: str) -> Pod:
    """As the source knows it."""
    return Pod(metadata=Metadata(name=name, namespace=namespace, uid=uid), spec=PodSpec(service_account_name="seller"))


async def secrets(server: ApiServer, namespace: str) -> dict[str, list[str]]:
    """The owners of each Secret."""
    found = await asyncio.to_thread(server.request, "GET", f"/api/v1/namespaces/{namespace}/secrets")
    metadata = (each["metadata"] for each in found["items"])
    return {each["name"]: [owner["uid"] for owner in each.get("ownerReferences", [])] for each in metadata}


@asynccontextmanager
async def cleaning(
    server: ApiServer, pods: Mapping[tuple[str, str], Pod] | None, leads: Latest[bool], *, user: str = ""
) -> AsyncGenerator[BootstrapGarbageCollector]:
    """A janitor that waits for 2 s instead of 10 minutes."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        credentials = Credentials(Latest(TRUST), trust_domain="cluster.local", osm_namespace="osm-system")
        janitor = BootstrapGarbageCollector(
            client, leads=leads, pods=lambda: pods, credentials=credentials, orphaned_after=2.0
        )
        async with background_tasks(run=janitor.run()):
            yield janitor


async def test_a_secret_ends_with_its_pod_and_one_whose_pod_never_came_is_deleted(
    api_server: ApiServer, namespace: str
) -> None:
    pods = {(namespace, UUIDS[0]): pod(namespace, "shop-0", "a-uid")}
    leads = Latest(False)  # noqa: FBT003
    async with cleaning(api_server, pods, leads):
        await asyncio.sleep(1.0)
        assert await secrets(api_server, namespace) == {name: [] for name in (*map(secret_name, UUIDS), "application")}
        leads.set(True)
        expected = {secret_name(UUIDS[0]): ["a-uid"], "application": []}

        async def is_clean() -> bool:
            return await secrets(api_server, namespace) == expected

        await eventually(is_clean, within=10)


async def test_who_cannot_see_the_pods_deletes_nothing(api_server: ApiServer, namespace: str) -> None:
    async with cleaning(api_server, None, Latest(True)):  # noqa: FBT003
        await asyncio.sleep(4.0)
        assert len(await secrets(api_server, namespace)) == 4


async def test_a_secret_whose_pod_only_the_watch_has_missed_is_kept_and_ends_with_it(
    api_server: ApiServer, namespace: str
) -> None:
    metadata = {"name": "shop-1", "namespace": namespace, "labels": {"osm-proxy-uuid": UUIDS[1]}}
    spec = {"containers": [{"name": "a", "image": "a"}]}
    stored = api_server.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    async with cleaning(api_server, {}, Latest(True)):  # noqa: FBT003
        expected = {secret_name(UUIDS[1]): [stored["metadata"]["uid"]], "application": []}

        async def is_clean() -> bool:
            return await secrets(api_server, namespace) == expected

        await eventually(is_clean, within=10)


async def test_one_that_belongs_to_another_or_is_as_it_should_be_is_not_written(
    api_server: ApiServer, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets/{secret_name(UUIDS[0])}"
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "anothers"}
    form = "application/merge-patch+json"
    api_server.request("PATCH", path, {"metadata": {"ownerReferences": [owner]}}, form=form)
    pods = {(namespace, uuid): pod(namespace, "shop", f"of-{uuid}") for uuid in UUIDS}
    async with cleaning(api_server, pods, Latest(True)):  # noqa: FBT003
        expected = {secret_name(uuid): [f"of-{uuid}"] for uuid in UUIDS}

        async def is_clean() -> bool:
            return await secrets(api_server, namespace) == expected | {
                secret_name(UUIDS[0]): ["anothers"],
                "application": [],
            }

        await eventually(is_clean, within=10)
        version = api_server.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["metadata"]["resourceVersion"]
        await asyncio.sleep(2.5)
        found = api_server.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
        assert all(int(each["metadata"]["resourceVersion"]) <= int(version) for each in found)


async def test_secrets_follow_the_trust_of_those_pods_that_are_there(api_server: ApiServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    for uuid in UUIDS:
        change = {"metadata": {"annotations": {TRUST_MARK: "anothers"}}, "data": {"bootstrap.yaml": "e30="}}
        form = "application/merge-patch+json"
        api_server.request("PATCH", f"{path}/{secret_name(uuid)}", change, form=form)
    pods = {(namespace, uuid): pod(namespace, "shop", f"of-{uuid}") for uuid in UUIDS[:2]}
    async with cleaning(api_server, pods, Latest(True)) as janitor:  # noqa: FBT003

        async def is_done() -> bool:
            return janitor.refreshed == TRUST.mark

        await eventually(is_done, within=10)
        for uuid in UUIDS[:2]:
            secret = await asyncio.to_thread(api_server.request, "GET", f"{path}/{secret_name(uuid)}")
            assert secret["metadata"]["annotations"] == {TRUST_MARK: TRUST.mark}
            assert secret["data"]["bootstrap.yaml"] == "e30="
            certificate = json.loads(base64.b64decode(secret["data"]["ads-certificate.json"]))
            chain = certificate["resources"][0]["tls_certificate"]["certificate_chain"]["inline_bytes"]
            assert f"{uuid}.sidecar.seller.{namespace}.cluster.local" in common_names(base64.b64decode(chain))
        secret = await asyncio.to_thread(api_server.request, "GET", f"{path}/{secret_name(UUIDS[2])}")
        assert secret["metadata"]["annotations"] == {TRUST_MARK: "anothers"}


async def test_a_secret_that_is_refused_keeps_no_other_waiting_and_is_told_once(
    api_server: ApiServer, namespace: str
) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["patch"], "resourceNames": [secret_name(UUIDS[2])]},
    ]
    _allow(api_server, namespace, "hardly-anything", rules)
    pods = {(namespace, uuid): pod(namespace, "shop", "a-uid") for uuid in UUIDS}
    with capture_logs() as lines:
        async with cleaning(api_server, pods, Latest(True), user="hardly-anything"):  # noqa: FBT003

            async def is_done() -> bool:
                return (await secrets(api_server, namespace))[secret_name(UUIDS[2])] == ["a-uid"]

            await eventually(is_done, within=10)
            await asyncio.sleep(2)
    (told,) = [line["error"] for line in lines if line["log_level"] == "warning"]
    assert told.endswith('; its user must be allowed to patch and delete secrets and list pods of API group ""')


async def test_who_may_not_see_the_secrets_says_so(api_server: ApiServer, namespace: str) -> None:
    with capture_logs() as lines:
        async with cleaning(api_server, {}, Latest(True), user="nobody"):  # noqa: FBT003
            await asyncio.sleep(2)
    (told,) = [line["error"] for line in lines if line["log_level"] == "warning"]
    assert told.endswith('; its user must be allowed to list and watch secrets of API group ""')


def _allow(server: ApiServer, namespace: str, user: str, rules: list[dict[str, Any]]) -> None:
    """A cluster role for one user."""
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
