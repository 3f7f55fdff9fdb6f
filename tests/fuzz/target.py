"""A fuzz target: inputs, and a check that fails if the code handles an input in an undocumented way."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

Check = Callable[[Any], None]


@dataclass(frozen=True)
class FuzzTarget:
    """opened: opens what the check needs, such as a server, and gives the check, which raises for a fault."""

    name: str
    inputs: "SearchStrategy[Any]"
    opened: Callable[[], AbstractContextManager[Check]]


def run_batch(target: FuzzTarget, check: Check, *, number: int, examples: int) -> None:
    """Run so many inputs; the same number gives the same inputs. A fault is raised with its smallest input."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,  # the seed decides
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )
    @given(target.inputs)
    def batch(value: object) -> None:
        check(value)

    seed(number)(batch)()
