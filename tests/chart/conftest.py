from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.helms import Helm, Helm3, Helm4
from tests.kubernetes.apiserver import ApiServer, running_api_server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster without the chart."""
    with running_api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture(params=["3", "4"])
def helm(request: pytest.FixtureRequest, cluster: ApiServer, tmp_path: Path) -> Helm:
    """Helm 3 and Helm 4, one at a time."""
    return Helm3(cluster, tmp_path) if request.param == "3" else Helm4(cluster)
