from pathlib import Path

import pytest

from osm_probes.admission.namespaces import NamespaceLookupError
from osm_probes.cluster.namespaces import ApiServerNamespaces
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.health.backlog import Backlog
from osm_probes.mesh.mesh import Mesh, NamespaceMetadata
from tests.kube.fake_api_server import fake_api_server


class UnreadSource:
    """A source whose mesh has not been read yet."""

    def __init__(self) -> None:
        self.mesh: Latest[Mesh | None] = Latest(None)
        self.updates = Backlog()
        self.problem: Latest[Problem] = Latest(Problem("not listed yet: namespaces", "not listed yet: Namespace shop"))


@pytest.mark.parametrize(
    ("response", "metadata"),
    [
        ('{"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}', NamespaceMetadata({"a": "b"}, {"c": "d"})),
        ('{"metadata": {"name": "shop"}}', NamespaceMetadata()),
    ],
)
async def test_get_current_reads_the_namespace_from_the_api_server(
    tmp_path: Path, response: str, metadata: NamespaceMetadata
) -> None:
    async with fake_api_server(tmp_path, response) as (client, _):
        assert await ApiServerNamespaces(UnreadSource(), client, within=1).get_current("shop") == metadata


@pytest.mark.parametrize("response", ["", "noise", "{}"])
async def test_get_current_fails_without_a_usable_response(tmp_path: Path, response: str) -> None:
    async with fake_api_server(tmp_path, response) as (client, _):
        with pytest.raises(NamespaceLookupError, match="whether namespace shop wants sidecars is unknown: "):
            await ApiServerNamespaces(UnreadSource(), client, within=1).get_current("shop")


async def test_get_cached_fails_before_the_first_list(tmp_path: Path) -> None:
    async with fake_api_server(tmp_path, "") as (client, server):
        with pytest.raises(NamespaceLookupError, match="not listed yet: namespaces"):
            await ApiServerNamespaces(UnreadSource(), client, within=1).get_cached("shop")
        assert server.requests == 0


async def test_a_lookup_error_does_not_name_objects(tmp_path: Path) -> None:
    async with fake_api_server(tmp_path, "") as (client, _):
        with pytest.raises(NamespaceLookupError) as caught:
            await ApiServerNamespaces(UnreadSource(), client, within=1).get_cached("till")
    assert "shop" not in str(caught.value), "its text is for whoever creates a pod"
