"""Fixtures: one real API server for all tests, a new namespace for each test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.apiserver import ApiServer, running_api_server


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server that all tests share: a test must leave it as it was."""
    with running_api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture
def own_api_server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server for one test, which may break it."""
    with running_api_server(tmp_path / "kubernetes") as server:
        yield server


_numbers = itertools.count(1)


@pytest.fixture
def new_namespace() -> Callable[..., dict[str, object]]:
    """A function that returns the manifest of a namespace with a unique name."""

    def make(*, mesh: str = "") -> dict[str, object]:
        labels = {"openservicemesh.io/monitored-by": mesh} if mesh else {}
        metadata = {"name": f"test-{next(_numbers)}", "labels": labels}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    return make


@pytest.fixture
def namespace(api_server: ApiServer, new_namespace: Callable[..., Any]) -> str:
    """A new namespace."""
    manifest = new_namespace()
    api_server.create(manifest)
    return str(manifest["metadata"]["name"])
