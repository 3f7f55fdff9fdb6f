"""Client and namespace of a review -> whether one more bootstrap may be stored for it.

Whoever reaches the webhook can make it store bootstraps, one for each review, so their number has limits. An API server
never reaches them: it creates a few hundred pods a second in a whole cluster, and those of one namespace more slowly.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, TypeVar

from osm_probes.admission.pod import InjectionError

NAMESPACE_LIMIT: Final = 5_000
CLIENT_LIMIT: Final = 10_000
TOTAL_LIMIT: Final = 20_000
_PENDING_FOR: Final = 120.0

K = TypeVar("K")


class TooManyPendingError(InjectionError):
    """So many bootstraps were stored a short time ago that no more are stored now; the text says for what."""


class BootstrapBudget:
    """Limits the bootstraps that were stored in the last two minutes. Then their pods exist, or never will.

    A client is an IP address. One client can use up a namespace's limit for itself, and half of the total, so it cannot
    keep the API server from creating pods.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stored: deque[tuple[float, str, str]] = deque()
        self._by_client: Counter[str] = Counter()
        self._by_namespace: Counter[tuple[str, str]] = Counter()

    def take(self, *, client: str, namespace: str) -> None:
        """Count one more bootstrap. Raises TooManyPendingError."""
        self._forget_old()
        for what, count, limit in (
            (f"of namespace {namespace}", self._by_namespace[client, namespace], NAMESPACE_LIMIT),
            (f"by {client}", self._by_client[client], CLIENT_LIMIT),
            ("in all namespaces", len(self._stored), TOTAL_LIMIT),
        ):
            if count >= limit:
                raise TooManyPendingError(
                    f"no sidecar: {count} pods {what} were reviewed in the last {_PENDING_FOR:g} s; try again later"
                )
        self._stored.append((self._clock(), client, namespace))
        self._by_client[client] += 1
        self._by_namespace[client, namespace] += 1

    def _forget_old(self) -> None:
        oldest = self._clock() - _PENDING_FOR
        while self._stored and self._stored[0][0] <= oldest:
            _, client, namespace = self._stored.popleft()
            _subtract(self._by_client, client)
            _subtract(self._by_namespace, (client, namespace))


def _subtract(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
