"""What the traffic tests stand on: the demo's stage, once for each way to speak xDS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stage import Stage, stage

WAYS = [pytest.param((), id="state-of-the-world"), pytest.param(("--incremental",), id="incremental")]


@pytest.fixture(scope="module", params=WAYS)
def whole(request: pytest.FixtureRequest, envoy: Path) -> Iterator[Stage]:
    """A controller, bookbuyer and bookstore, with requests going through."""
    flags: tuple[str, ...] = request.param
    with stage(envoy=envoy, flags=flags) as made:
        yield made
