"""Lists of a real API server, read page by page."""

from collections.abc import Callable
from typing import Any

import pytest

from osm_probes.kube.connect import connect
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.kube.kind import MESH_CONFIGS, NAMESPACES
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.kube.wire import AnyObject
from tests.kubernetes.apiserver import ApiServer

pytestmark = pytest.mark.kubernetes


async def test_a_list_of_several_pages_is_complete(
    api_server: ApiServer, new_namespace: Callable[..., dict[str, Any]]
) -> None:
    names = [api_server.create(new_namespace(mesh="paged"))["metadata"]["name"] for _ in range(5)]
    options = ListOptions(NAMESPACES, labels="openservicemesh.io/monitored-by=paged")
    async with connect(str(api_server.kubeconfig)) as client:
        namespaces = await list_objects(client, options, type=AnyObject, page_size=2)
    assert sorted(namespace.metadata.name for namespace in namespaces) == sorted(names)


async def test_a_kind_that_is_not_served_and_an_undecodable_object_are_errors(api_server: ApiServer) -> None:
    async with connect(str(api_server.kubeconfig)) as client:
        with pytest.raises(NotFoundError):
            await list_objects(client, ListOptions(MESH_CONFIGS), type=AnyObject)
        with pytest.raises(KubernetesError, match="the list of namespaces cannot be decoded: "):
            await list_objects(client, ListOptions(NAMESPACES), type=int)
