"""Memory of what was made: as long as it goes on being asked for, it is not made again."""

from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class GenerationCache:
    """Results of pure functions by their arguments; what is not asked for between two turns is forgotten."""

    def __init__(self) -> None:
        self._now: dict[Hashable, Any] = {}
        self._before: dict[Hashable, Any] = {}

    def __call__(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`make(*args, **kwargs)`, from memory if it was made before. All arguments are hashable."""
        key = (make, args, *kwargs.values())
        if key not in self._now:
            self._now[key] = self._before[key] if key in self._before else make(*args, **kwargs)
        return cast("T", self._now[key])

    def turn(self) -> None:
        """Begin anew: what was not asked for since the last turn is forgotten."""
        self._before, self._now = self._now, {}
