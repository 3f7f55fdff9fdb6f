"""Leader election among replicas, by a Lease: https://kubernetes.io/docs/concepts/architecture/leases/

Clocks of different machines are never compared: another replica's Lease has ended once it stayed unchanged for its
duration by this replica's clock. A paused leader does not notice that it lost the Lease, so leader-only work must be
idempotent.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import JsonObject, KubernetesClient
from osm_probes.kube.errors import (
    BusyError,
    ConflictError,
    KubernetesError,
    NotFoundError,
    UnreachableError,
)
from osm_probes.kube.kind import LEASES
from osm_probes.kube.lease import Lease, LeaseTiming, ObservedLease, claimed_spec, decode_lease, released_spec

_RELEASE_WITHIN: Final = 2.0
# Up to this much is added to each period, so that replicas that started together do not always send requests together.
_JITTER: Final = 0.2


class LeaderElector:
    """This replica's part in the election of one Lease.

    is_leader: whether this replica is the leader now. holder: the leader's identity when the Lease was last read.
    Losing the Lease stops only what `run_while_leading` runs. candidate: an identity that no other process uses.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        namespace: str,
        name: str,
        candidate: str,
        timing: LeaseTiming | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_leader: Latest[bool] = Latest(False)  # noqa: FBT003 - a value, no switch
        self.holder = ""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._candidate = candidate
        self._timing = timing or LeaseTiming()
        self._clock = clock
        self._lease: Lease | None = None
        self._observed: ObservedLease | None = None
        self._renewed_at = clock()
        self._elected_at = clock()
        self._may_hold = False
        self._problem = ProblemLog(
            "lease", began="the Lease cannot be taken", ended="the Lease can be taken again", clock=clock
        )

    async def run(self) -> None:
        """Take part in the election until cancelled, then release the Lease."""
        try:
            while True:
                pause = await self._attempt()
                await asyncio.sleep(pause)
        finally:
            await self._release()

    async def _attempt(self) -> float:
        """Try to take or renew the Lease; the pause until the next attempt."""
        self._step_down_if_late()
        left = self._time_left()
        try:
            # Each request has half of the time, so that a second one is possible after one that hangs.
            async with asyncio.timeout(left):
                await self._claim(self._client.with_timeout(left / 2))
            self._problem.update("", lease=self._name)
        except (UnreachableError, BusyError, ConflictError, TimeoutError) as error:
            logger("lease").debug("the Lease is not renewed", lease=self._name, error=str(error))
        except KubernetesError as error:
            self._problem.update(error.explain(self._permission), lease=self._name)
        self._step_down_if_late()
        return min(self._timing.retry_period * random.uniform(1.0, 1.0 + _JITTER), self._time_left())

    def _time_left(self) -> float:
        """Seconds until a leader must step down; the whole renew_deadline for the other replicas."""
        if not self.is_leader.value:
            return self._timing.renew_deadline
        return max(0.0, self._renewed_at + self._timing.renew_deadline - self._clock())

    def _step_down_if_late(self) -> None:
        if self._time_left() <= 0:
            self._step_down(f"not renewed for {self._timing.renew_deadline:g} s")

    async def _claim(self, client: KubernetesClient) -> None:
        """Take or renew the Lease unless another replica holds it. Raises KubernetesError; ConflictError in a race."""
        if self._lease is not None:
            try:
                await self._replace(self._lease, client)
                return
            except (ConflictError, NotFoundError):
                # Another process changed or deleted it: read it again.
                self._lease = None
        lease = await self._read(client)
        if lease is None:
            await self._create(client)
        elif self._held_by_other(lease):
            self._step_down(f"{self.holder} has it")
        else:
            await self._replace(lease, client)

    async def _read(self, client: KubernetesClient) -> Lease | None:
        try:
            lease = decode_lease(await client.read(LEASES, self._name, namespace=self._namespace))
        except NotFoundError:
            self.holder = ""
            return None
        self.holder = lease.spec.holder
        return lease

    def _held_by_other(self, lease: Lease) -> bool:
        now = self._clock()
        observed = self._observed or ObservedLease(lease.spec, now)
        self._observed = observed.observe(lease.spec, now=now)
        return self._observed.held_by_other(self._candidate, now=now, timing=self._timing)

    async def _create(self, client: KubernetesClient) -> None:
        sent_at = self._begin_write()
        spec = claimed_spec(None, self._candidate, timing=self._timing, at=datetime.now(UTC))
        body: JsonObject = {"metadata": {"namespace": self._namespace, "name": self._name}, "spec": spec}
        self._lead(await client.create(LEASES, body, namespace=self._namespace), sent_at)

    async def _replace(self, lease: Lease, client: KubernetesClient) -> None:
        sent_at = self._begin_write()
        spec = claimed_spec(lease.spec, self._candidate, timing=self._timing, at=datetime.now(UTC))
        body = lease.with_spec(spec)
        self._lead(await client.replace(LEASES, self._name, body, namespace=self._namespace), sent_at)

    def _begin_write(self) -> float:
        # From now on the API server may store the claim, even if its response is lost.
        self._may_hold = True
        return self._clock()

    def _lead(self, content: bytes, sent_at: float) -> None:
        self._lease = decode_lease(content)
        self.holder = self._lease.spec.holder
        # Other replicas cannot see the claim before it was sent, so they wait for longer than this replica leads.
        self._renewed_at = sent_at
        if self.is_leader.set(True):
            self._elected_at = sent_at
            logger("lease").info("became the leader", lease=self._name, candidate=self._candidate)

    def _step_down(self, reason: str) -> None:
        self._lease = None
        if self.is_leader.set(False):
            lasted = round(self._clock() - self._elected_at, 1)
            logger("lease").info("is no longer the leader", lease=self._name, reason=reason, after=lasted)

    async def _release(self) -> None:
        self._step_down("released")
        if not self._may_hold:
            return
        try:
            async with asyncio.timeout(_RELEASE_WITHIN):
                client = self._client.with_timeout(_RELEASE_WITHIN / 2)
                # Read it again: a renewal that was cancelled may have changed its resourceVersion.
                lease = await self._read(client)
                if lease is not None and self.holder == self._candidate:
                    body = lease.with_spec(released_spec(lease.spec, at=datetime.now(UTC)))
                    await client.replace(LEASES, self._name, body, namespace=self._namespace)
                    self.holder = ""
        except (KubernetesError, TimeoutError) as error:
            logger("lease").debug("the Lease is not released", lease=self._name, error=str(error))

    @property
    def _permission(self) -> str:
        return f'get, create and update leases of API group "{LEASES.group}" in namespace {self._namespace}'


async def run_while_leading(is_leader: Latest[bool], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start `work` whenever `is_leader` becomes true, cancel it when it becomes false; runs until cancelled."""
    async for leading in is_leader.values():
        if leading:
            async with background_tasks(work=work()):
                await is_leader.after(is_leader.version)
