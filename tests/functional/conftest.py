"""The traffic tests' testbed, once for each xDS protocol variant."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.testbed import MeshTestbed, running_testbed

XDS_VARIANTS = [pytest.param((), id="state-of-the-world"), pytest.param(("--incremental",), id="incremental")]


@pytest.fixture(scope="module", params=XDS_VARIANTS)
def testbed(request: pytest.FixtureRequest, envoy: Path) -> Iterator[MeshTestbed]:
    """osm-controller, and bookbuyer and bookstore with configured sidecars."""
    flags: tuple[str, ...] = request.param
    with running_testbed(envoy=envoy, flags=flags) as testbed:
        yield testbed
