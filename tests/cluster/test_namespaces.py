from pathlib import Path

import pytest

from osm_probes.admission.namespaces import MeshUnknownError, NamespaceFacts
from osm_probes.cluster.namespaces import AskedNamespaces
from osm_probes.foundation.latest import Latest
from osm_probes.mesh.mesh import Mesh
from tests.kube.answering import answering


class NoMesh:
    """A source that knows nothing."""

    def __init__(self) -> None:
        self.mesh: Latest[Mesh | None] = Latest(None)
        self.problem: Latest[str] = Latest("not listed yet: namespaces")


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ('{"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}', NamespaceFacts({"a": "b"}, {"c": "d"})),
        ('{"metadata": {"name": "shop"}}', NamespaceFacts()),
    ],
)
async def test_the_newest_is_what_the_api_server_says(tmp_path: Path, answer: str, facts: NamespaceFacts) -> None:
    async with answering(tmp_path, answer) as (client, _):
        assert await AskedNamespaces(NoMesh(), client, within=1).newest("shop") == facts


@pytest.mark.parametrize("answer", ["", "noise", "{}"])
async def test_without_a_usable_answer_nobody_knows(tmp_path: Path, answer: str) -> None:
    async with answering(tmp_path, answer) as (client, _):
        with pytest.raises(MeshUnknownError, match="whether namespace shop wants sidecars cannot be known: "):
            await AskedNamespaces(NoMesh(), client, within=1).newest("shop")


async def test_before_the_first_list_nothing_is_known(tmp_path: Path) -> None:
    async with answering(tmp_path, "") as (client, there):
        with pytest.raises(MeshUnknownError, match="not listed yet: namespaces"):
            await AskedNamespaces(NoMesh(), client, within=1).known("shop")
        assert there.requests == 0
