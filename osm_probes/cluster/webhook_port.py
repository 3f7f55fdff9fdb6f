"""The port in the webhook's URL, and reviews that arrive -> whether that port leads to an injector.

A URL may have the port of a load balancer. Only a review proves then that the port is right: the API server may resolve
the URL's host to another address than this program does, so a connection from here proves nothing.
"""

import time
from collections.abc import Callable
from typing import Final

from osm_probes.foundation.problem import Problem

_SETTLED_AFTER: Final = 5.0  # until then, the API server may still use the URL as it was before
_WAITS_FOR: Final = 10.0
# A load balancer may send no reviews to injectors that are not ready. So the verdict is suspended again and again.
_PERIOD: Final = 300.0
_SUSPENDED_FOR: Final = 60.0


class UnprovenPort:
    """Judges a port in the URL other than the webhook's own."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ports = (0, 0)
        self._since = clock()
        self._is_proven = True

    def see(self, called: int, *, own: int) -> None:
        """The URL has the port `called`, and the webhook listens on port `own`."""
        if (called, own) != self._ports:
            self._ports, self._since, self._is_proven = (called, own), self._clock(), called == own

    def review_arrived(self) -> None:
        """A review came from the API server."""
        self._is_proven |= self._clock() - self._since >= _SETTLED_AFTER

    @property
    def problem(self) -> Problem:
        """Why pods get no sidecar; false if a review has proved the port."""
        waited = self._clock() - self._since
        if self._is_proven or waited < _WAITS_FOR or waited % _PERIOD >= _PERIOD - _SUSPENDED_FOR:
            return Problem()
        called, own = self._ports
        return Problem(
            f"the webhook configuration: clientConfig.url calls port {called}, this injector listens on port {own}, "
            "and no review has arrived"
        )
