"""What tests of the commands stand on."""

from collections.abc import Iterator

import pytest

from tests.cli.live import Live, at_work
from tests.kubernetes.conftest import api_server, own_api_server

__all__ = ["api_server", "own_api_server"]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A control plane at work, shared: leave it as it was; its logs and Events may tell of others' tests."""
    with at_work(tmp_path_factory.mktemp("live")) as made:
        yield made
