from collections.abc import Iterator
from typing import Any

import pytest

from tests.log_capture import capture_logs


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """The log lines of the test."""
    with capture_logs() as captured:
        yield captured
