"""One cluster for all scenes, with the chart installed; they are played in the order of their files' names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.cluster import Cluster, running_cluster
from tests.e2e.images import archives
from tests.e2e.mesh import Mesh
from tests.e2e.node import running_node
from tests.e2e.shop import BUYER, STORE, enrolled
from tools.node_binaries import pod_binaries


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A scene waits for a kubelet, and the first one for the images and the cluster too."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Archives of all images by their names."""
    files = archives(tmp_path_factory.mktemp("images"))
    yield files
    for each in files.values():
        each.unlink()  # folders of tests stay for a while, and these are large


@pytest.fixture(scope="session")
def cluster(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster that has all images."""
    state = tmp_path_factory.mktemp("e2e") / "node"
    with running_node(state, pause=pod_binaries() / "pause") as node:
        for archive in built.values():
            node.load(archive)
        with running_cluster(node) as running:
            yield running


@pytest.fixture(scope="session")
def mesh(cluster: Cluster) -> Mesh:
    """The control plane, installed by the chart and ready."""
    return Mesh.installed(cluster)


@pytest.fixture(scope="session")
def bookstore(mesh: Mesh, cluster: Cluster) -> None:
    """A bookstore in the mesh, and a namespace for those who buy there."""
    cluster.apply(*enrolled(STORE), *enrolled(BUYER))
    cluster.apply(*shop.bookstore())
    cluster.rolled_out("deployment/bookstore", namespace=STORE)
