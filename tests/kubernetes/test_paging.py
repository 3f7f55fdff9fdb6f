"""Lists of a real API server, page by page."""

from collections.abc import Callable
from typing import Any

import pytest

from osm_probes.kube.connect import connect
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.kube.kind import MESH_CONFIGS, NAMESPACES
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import listed
from osm_probes.kube.wire import Thing
from tests.kubernetes.apiserver import ApiServer

pytestmark = pytest.mark.kubernetes


async def test_a_list_of_several_pages_is_whole(
    api_server: ApiServer, new_namespace: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osm_probes.kube.paging._PAGE", 2)
    made = [api_server.create(new_namespace(mesh="paged"))["metadata"]["name"] for _ in range(5)]
    wanted = ListOptions(NAMESPACES, labels="openservicemesh.io/monitored-by=paged")
    async with connect(str(api_server.kubeconfig)) as client:
        assert sorted(each.metadata.name for each in await listed(client, wanted, type=Thing)) == sorted(made)


async def test_what_cannot_be_read_is_an_error(api_server: ApiServer) -> None:
    async with connect(str(api_server.kubeconfig)) as client:
        with pytest.raises(NotFoundError):
            await listed(client, ListOptions(MESH_CONFIGS), type=Thing)
        with pytest.raises(KubernetesError, match="the list of namespaces cannot be read: "):
            await listed(client, ListOptions(NAMESPACES), type=int)
