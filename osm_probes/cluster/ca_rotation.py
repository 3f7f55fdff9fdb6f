"""Rotation of the certificate authority (CA): a new CA in the Secret is first trusted, then signs, then stands alone.

Each step is written into the Secret, which all replicas follow, so a new leader continues where the last one stopped.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from osm_probes.cluster.ca_secret import CaSecret, StoredCa
from osm_probes.cluster.ca_secret_content import retire_patch, sign_patch, signs_since, trust_patch
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.kube.client import JsonObject
from osm_probes.kube.errors import ConflictError, KubernetesError
from osm_probes.kube.leader_election import run_while_leading
from osm_probes.pki.trust import Trust

# The time until a changed Secret is in all pods that mount it: kubelets sync once a minute (syncFrequency) and may
# cache a Secret for another minute; the rest is a margin for slow ones.
_MOUNT_DELAY: Final = 300.0
_INTERVAL: Final = 1.0
_SIGNS: Final = (
    "the new certificate authority signs; the previous one stays trusted until all its certificates have expired"
)
_PERMISSION: Final = "patch the Secret of the certificate authority"


@dataclass(frozen=True, slots=True)
class Step:
    """A patch of the Secret, and the message to log after it."""

    patch: JsonObject
    message: str


class CaRotation:
    """Takes the steps of a rotation while `is_leader` is true.

    distributed_trust: the fingerprint of the trust that all proxies' Secrets have; "" if they differ.
    certificate_validity: seconds for which workload certificates are valid.
    mount_delay: seconds until a changed Secret is in all pods that mount it.

    A new root signs `mount_delay` after all proxies' Secrets contain it. The previous root stays trusted for
    `certificate_validity` after it stopped signing.
    """

    def __init__(
        self,
        secret: CaSecret,
        trust: Latest[Trust],
        *,
        is_leader: Latest[bool],
        distributed_trust: Callable[[], str],
        certificate_validity: Callable[[], float],
        mount_delay: float = _MOUNT_DELAY,
    ) -> None:
        self._secret = secret
        self._trust = trust
        self._is_leader = is_leader
        self._distributed_trust = distributed_trust
        self._certificate_validity = certificate_validity
        self._mount_delay = mount_delay
        self._distributed_since: tuple[str, float] = ("", 0.0)  # a distributed trust, and since when it is
        self._problem = ProblemLog(
            "pki",
            began="the rotation of the certificate authority cannot continue",
            ended="the rotation of the certificate authority continues",
            level="error",
            repeat=Repeat.WHEN_CHANGED,
        )

    async def run(self) -> None:
        """Take steps whenever this replica is the leader, until cancelled."""
        await run_while_leading(self._is_leader, self._take_steps)

    async def _take_steps(self) -> None:
        self._distributed_since = ("", 0.0)
        backoff = Backoff()
        while True:
            pause = _INTERVAL
            try:
                await self._take_step()
                backoff.reset()
            except ConflictError as error:
                # Its new version arrives by the watch and decides about the next step.
                logger("pki").debug("the certificate authority's Secret has changed", error=str(error))
            except KubernetesError as error:
                self._problem.update(error.explain(_PERMISSION))
                pause = backoff.pause(at_least=_INTERVAL)
            await asyncio.sleep(pause)

    async def _take_step(self) -> None:
        """Take the next step if it is due. Raises KubernetesError."""
        stored = self._secret.stored.value
        if stored is None or (step := self._next_step(stored)) is None:
            return
        await self._secret.patch(stored, step.patch)
        self._problem.update("")
        logger("pki").info(step.message)

    def _next_step(self, stored: StoredCa) -> Step | None:
        """The step that is due now, if any."""
        authorities, trust = stored.authorities, self._trust.value
        if authorities.previous is not None:
            return Step(sign_patch(datetime.now(UTC)), _SIGNS) if self._is_mounted(trust) else None
        if authorities.target != trust.signer:
            minutes = f"{self._mount_delay / 60:g} minutes"
            message = f"a new certificate authority is trusted; it signs in {minutes} or more"
            return Step(trust_patch(stored.content, trust), message)
        return self._retire_step(stored, trust) if stored.content.previous_pem else None

    def _retire_step(self, stored: StoredCa, trust: Trust) -> Step | None:
        since, now = signs_since(stored.content), datetime.now(UTC)
        if since is None:
            # Somebody removed the time. Start again: trusting the previous root for too long is harmless.
            return Step(sign_patch(now), _SIGNS)
        if self._is_mounted(trust) and now - since > timedelta(seconds=self._certificate_validity()):
            return Step(
                retire_patch(), "the rotation is complete: the previous certificate authority is no longer trusted"
            )
        return None

    def _is_mounted(self, trust: Trust) -> bool:
        """Whether all proxies' Secrets have this trust, and for long enough that their pods have it too."""
        now, distributed = time.monotonic(), self._distributed_trust()
        if distributed != self._distributed_since[0]:
            self._distributed_since = (distributed, now)
        return distributed == trust.fingerprint and now - self._distributed_since[1] >= self._mount_delay
