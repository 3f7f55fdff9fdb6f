"""Another pair in the Secret of the certificate authority -> trusted, then signing, then alone: a step at a time.

The steps are written into the Secret, which all replicas follow; so the rotation goes on wherever the Lease is.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from osm_probes.cluster.ca_secret import AuthoritySecret, Stored
from osm_probes.cluster.ca_secret_content import recorded, retired, signing, signs_since
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.kube.client import Object
from osm_probes.kube.errors import ConflictError, KubernetesError
from osm_probes.kube.leader_election import while_leading
from osm_probes.pki.trust import Trust

# Until what is in a Secret is in the pods that mount it: kubelets look each minute (syncFrequency), and may keep what
# they have read for another; the rest is for slow ones.
_SPREAD_WITHIN: Final = 300.0
_EVERY: Final = 1.0
_SIGNS: Final = "the new certificate authority signs; the one before it is trusted until what it signed has ended"
_PERMISSION: Final = "patch the Secret of the certificate authority"


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the Secret, and what is told once it is made. None: nothing is to be done now."""

    change: Object
    told: str


class CaRotation:
    """Takes the steps while `leads` is true.

    refreshed: the mark of the trust that all proxies' Secrets have; "" if there is none. A root is trusted
    for `spread_within` seconds after they have it before it signs; the one before it for `outlived()` seconds, as long
    as workloads' certificates are valid, after it has stopped.
    """

    def __init__(
        self,
        secret: AuthoritySecret,
        trust: Latest[Trust],
        *,
        leads: Latest[bool],
        refreshed: Callable[[], str],
        outlived: Callable[[], float],
        spread_within: float = _SPREAD_WITHIN,
    ) -> None:
        self._secret = secret
        self._trust = trust
        self._leads = leads
        self._refreshed = refreshed
        self._outlived = outlived
        self._spread_within = spread_within
        self._since: tuple[str, float] = ("", 0.0)  # what proxies' Secrets say, and since when
        self._said = ""

    async def run(self) -> None:
        """Take them, without an end."""
        await while_leading(self._leads, self._work)

    async def _work(self) -> None:
        self._since = ("", 0.0)
        backoff = Backoff()
        while True:
            pause = _EVERY
            try:
                await self._go_on()
                backoff.reset()
            except ConflictError as error:
                # It changed meanwhile: what it holds now decides.
                logger("pki").debug("the certificate authority's Secret has changed", error=str(error))
            except KubernetesError as error:
                self._say(error.needing(_PERMISSION))
                pause = backoff.pause(at_least=_EVERY)
            await asyncio.sleep(pause)

    def _say(self, problem: str) -> None:
        if problem != self._said:
            logger("pki").error("the rotation of the certificate authority cannot go on", error=problem)
        self._said = problem

    async def _go_on(self) -> None:
        """Raises KubernetesError."""
        stored = self._secret.stored.value
        if stored is None or (step := self._next(stored)) is None:
            return
        await self._secret.change(stored, step.change)
        self._said = ""
        logger("pki").info(step.told)

    def _next(self, stored: Stored) -> Step | None:
        found, trust = stored.authorities, self._trust.value
        if found.previous is not None:
            return Step(signing(datetime.now(UTC)), _SIGNS) if self._is_spread(trust) else None
        if found.wanted != trust.signer:
            words = f"a new certificate authority is trusted; it signs in {self._spread_within / 60:g} minutes or more"
            return Step(recorded(stored.content, trust), words)
        return self._end(stored, trust) if stored.content.previous_pem else None

    def _end(self, stored: Stored, trust: Trust) -> Step | None:
        since, now = signs_since(stored.content), datetime.now(UTC)
        if since is None:
            # Who took the time away makes it last longer, not shorter.
            return Step(signing(now), _SIGNS)
        if self._is_spread(trust) and now - since > timedelta(seconds=self._outlived()):
            return Step(retired(), "the certificate authority is rotated: the one before it is trusted no more")
        return None

    def _is_spread(self, trust: Trust) -> bool:
        """Whether the pods of all proxies have had time to read this trust."""
        now, mark = time.monotonic(), self._refreshed()
        if mark != self._since[0]:
            self._since = (mark, now)
        return mark == trust.mark and now - self._since[1] >= self._spread_within
