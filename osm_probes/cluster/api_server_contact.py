"""The own requests to the API server, and reviews from it -> whether only this program is cut off from it.

An API server that is away changes nothing: without it no pod can be created. But if reviews arrive while the own
requests fail, then others reach it, and the pods in these reviews are refused: their bootstraps cannot be stored.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import NAMESPACES

_EVERY: Final = 5.0
_AGAIN: Final = 1.0
_WITHIN: Final = 4.0
CUT_OFF_AFTER: Final = 10.0
"""How long the own requests must have failed, in seconds, until a review is evidence."""


class ApiServerContact:
    """Sends a small request every 5 s. All requests of `client` count.

    problem: evidence that others reach the API server while this program does not; false without it. It ends with the
    first request that gets a response. unknown: since when the API server is away, without such evidence.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        osm_namespace: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.problem: Latest[Problem] = Latest(Problem())
        self.unknown: Latest[Problem] = Latest(Problem())
        self._client = client.with_timeout(_WITHIN)
        self._contact = client.contact
        self._osm_namespace = osm_namespace
        self._now = now
        self._has_evidence = False
        self._since = now()

    async def run(self) -> None:
        """Send requests until cancelled."""
        while True:
            with contextlib.suppress(KubernetesError):
                await self._client.read(NAMESPACES, self._osm_namespace)
            self.update()
            await asyncio.sleep(_EVERY if self._contact.failing_for is None else _AGAIN)

    def review_arrived(self) -> None:
        """A review of a pod that is to be stored came from the API server."""
        self._has_evidence |= (self._contact.failing_for or 0.0) >= CUT_OFF_AFTER
        self.update()

    def update(self) -> None:
        """Set `problem` and `unknown` to what is known now."""
        failing_for = self._contact.failing_for
        if failing_for is None:
            self._has_evidence = False
        if failing_for is None or failing_for < CUT_OFF_AFTER:
            self._since = self._now() - timedelta(seconds=failing_for or 0.0)
            self.problem.set(Problem())
            self.unknown.set(Problem())
            return
        since = f"{self._since:%Y-%m-%dT%H:%M:%SZ}"
        cut_off = Problem(
            f"reviews arrive, but the requests of this injector to the API server have failed since {since}: pods are "
            "refused"
        )
        away = Problem(f"the API server cannot be reached since {since}: whether pods can be created is unknown")
        self.problem.set(cut_off if self._has_evidence else Problem())
        self.unknown.set(Problem() if self._has_evidence else away)
