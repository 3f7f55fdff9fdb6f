"""A doubt about the webhook configuration, and reviews that arrive -> whether pods get sidecars with it.

Some fields can be right, and nothing here shows it: a URL may have the port of a load balancer, and pods may have the
labels that an objectSelector demands. A review proves both. Nothing else does: the API server may resolve the URL's
host to another address than this program does, and osm-injector may not read pods.
"""

import time
from collections.abc import Callable
from typing import Final

from osm_probes.foundation.problem import Problem

_SETTLED_AFTER: Final = 5.0  # until then, the API server may still use the configuration as it was before
_WAITS_FOR: Final = 10.0
# A Service or load balancer may send no reviews to injectors that are not ready. So the verdict is suspended regularly.
_PERIOD: Final = 300.0
_SUSPENDED_FOR: Final = 60.0


class UnprovenConfiguration:
    """Judges a doubt: it is a problem until a review arrives."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._doubt = Problem()
        self._since = clock()
        self._is_proven = False

    def see(self, doubt: Problem) -> None:
        """The doubt about the configuration as it is now; a false one if there is none."""
        if doubt != self._doubt:
            self._doubt, self._since, self._is_proven = doubt, self._clock(), False

    def review_arrived(self) -> None:
        """A review came from the API server."""
        self._is_proven |= self._clock() - self._since >= _SETTLED_AFTER

    @property
    def problem(self) -> Problem:
        """Why pods get no sidecar; false if there is no doubt, or if a review has ended it."""
        waited = self._clock() - self._since
        if self._is_proven or waited < _WAITS_FOR or waited % _PERIOD >= _PERIOD - _SUSPENDED_FOR:
            return Problem()
        return self._doubt
