"""One cluster for all scenarios, with the chart installed. The scenarios run in the order of their file names."""

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
    """Allow the tests more time: they wait for kubelet, and the first one also for the images and the cluster."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The archives of all images, by image name."""
    files = archives(tmp_path_factory.mktemp("images"))
    yield files
    for archive in files.values():
        archive.unlink()  # pytest keeps temporary folders, and the archives are large


@pytest.fixture(scope="session")
def cluster(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster whose node has all images."""
    state = tmp_path_factory.mktemp("e2e") / "node"
    with running_node(state, pause=pod_binaries() / "pause") as node:
        for archive in built.values():
            node.load(archive)
        with running_cluster(node) as running:
            yield running


@pytest.fixture(scope="session")
def mesh(cluster: Cluster) -> Mesh:
    """The control plane, installed with the chart and ready."""
    return Mesh.installed(cluster)


@pytest.fixture(scope="session")
def bookstore(mesh: Mesh, cluster: Cluster) -> None:
    """A bookstore in the mesh, and a namespace for its callers."""
    cluster.apply(*enrolled(STORE), *enrolled(BUYER))
    cluster.apply(*shop.bookstore())
    cluster.rolled_out("deployment/bookstore", namespace=STORE)
