"""The Secrets of sidecars, owned by their pods or deleted, in a real API server."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from osm_probes.admission.pod import secret_name
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import beside
from osm_probes.kube.connect import connect
from osm_probes.program.janitor import Janitor
from osm_probes.sources.parts import Metadata
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.waiting import eventually

pytestmark = pytest.mark.kubernetes
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
    server.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})


async def secrets(server: ApiServer, namespace: str) -> dict[str, list[str]]:
    """The owners of each Secret."""
    found = await asyncio.to_thread(server.request, "GET", f"/api/v1/namespaces/{namespace}/secrets")
    metadata = (each["metadata"] for each in found["items"])
    return {each["name"]: [owner["uid"] for owner in each.get("ownerReferences", [])] for each in metadata}


@asynccontextmanager
async def cleaning(
    server: ApiServer, pods: Mapping[tuple[str, str], Metadata] | None, leads: Latest[bool]
) -> AsyncGenerator[None]:
    """A janitor that waits for 2 s instead of 10 minutes."""
    async with connect(str(server.kubeconfig)) as client:
        janitor = Janitor(client, leads=leads, pods=lambda: pods, orphaned_after=2.0)
        async with beside(run=janitor.run()):
            yield


async def test_a_secret_ends_with_its_pod_and_one_whose_pod_never_came_is_deleted(
    api_server: ApiServer, namespace: str
) -> None:
    pods = {(namespace, UUIDS[0]): Metadata(name="shop-0", namespace=namespace, uid="a-uid")}
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
