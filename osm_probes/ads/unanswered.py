"""The pending responses of a stream, again and again -> how long the proxy could have answered each. No I/O, no clock.

Envoy answers a response as soon as it has processed it, with one exception: while a cluster warms, Envoy withholds the
answer to the clusters. A cluster warms until it has its endpoints and secrets, or until Envoy no longer waits for them
(15 s each). So the time of clusters counts only while endpoints and secrets are answered.
"""

from collections.abc import Mapping
from typing import Final

from osm_probes.ads.events import UnansweredResponse
from osm_probes.ads.subscription import PendingResponse
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, SECRET

_WAITS_FOR: Final = {CLUSTER: (ENDPOINTS, SECRET)}


class UnansweredTime:
    """How long each pending response of one stream has been without an answer."""

    def __init__(self) -> None:
        self._seconds: dict[str, tuple[str, float]] = {}

    def add(self, seconds: float, pending: Mapping[str, PendingResponse]) -> None:
        """`seconds` have passed, and these responses, which the transport has taken, are pending now.

        A response that was not pending the last time counts from now on: it may have been sent a moment ago.
        """
        counted: dict[str, tuple[str, float]] = {}
        for type_url, response in pending.items():
            nonce, before = self._seconds.get(type_url, ("", 0.0))
            known = nonce == response.nonce
            waits = any(other in pending for other in _WAITS_FOR.get(type_url, ()))
            counted[type_url] = (response.nonce, before + (0.0 if waits else seconds) if known else 0.0)
        self._seconds = counted

    def longer_than(self, limit: float, pending: Mapping[str, PendingResponse]) -> tuple[UnansweredResponse, ...]:
        """The pending responses whose time has reached the limit."""
        times = {nonce: seconds for nonce, seconds in self._seconds.values() if seconds >= limit}
        return tuple(
            UnansweredResponse(type_url, response.desired_version, times[response.nonce])
            for type_url, response in pending.items()
            if response.nonce in times
        )
