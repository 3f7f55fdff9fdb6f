"""Many replicas -> one leader, by a Lease: https://kubernetes.io/docs/concepts/architecture/leases/

Clocks of machines are never compared: another's Lease has ended once it did not change for its duration by our clock.
A process that was stopped leads until it runs again: what leaders do must be harmless if two do it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import KubernetesClient, Object
from osm_probes.kube.errors import (
    BusyError,
    ConflictError,
    KubernetesError,
    NotFoundError,
    UnreachableError,
)
from osm_probes.kube.kind import LEASES
from osm_probes.kube.lease import Lease, ObservedRecord, Terms, claimed, lease_of, released

_RELEASED_WITHIN: Final = 2.0
# So that candidates that began together do not always ask together.
_JITTER: Final = 0.2


class LeaderElector:
    """This replica's part in an election: `holds` while it leads, `holder` who did when last seen.

    Losing the Lease ends nothing but what is done by its holder alone. `candidate` is a name that no other process has.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        namespace: str,
        name: str,
        candidate: str,
        terms: Terms | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holds: Latest[bool] = Latest(False)  # noqa: FBT003 - a value, no switch
        self.holder = ""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._candidate = candidate
        self._terms = terms or Terms()
        self._clock = clock
        self._lease: Lease | None = None
        self._observed: ObservedRecord | None = None
        self._renewed_at = clock()
        self._won_at = clock()
        self._may_be_ours = False
        self._told_of_refusal = False

    async def run(self) -> None:
        """Lead whenever nobody else does, without an end; the Lease is given back where this is cancelled."""
        try:
            while True:
                pause = await self._attempt()
                await asyncio.sleep(pause)
        finally:
            await self._release()

    async def _attempt(self) -> float:
        """Win or renew; the pause until the next attempt."""
        self._give_up_if_late()
        left = self._left()
        try:
            # Half of what is left for each request, so that one that hangs is not the only one.
            async with asyncio.timeout(left):
                await self._claim(self._client.bounded(left / 2))
            self._told_of_refusal = False
        except (UnreachableError, BusyError, ConflictError, TimeoutError) as error:
            logger("lease").debug("the Lease is not renewed", lease=self._name, error=str(error))
        except KubernetesError as error:
            self._tell_of_refusal(error)
        self._give_up_if_late()
        return min(self._terms.renew * random.uniform(1.0, 1.0 + _JITTER), self._left())

    def _left(self) -> float:
        """Seconds until this replica must give up; for one that does not lead the whole time."""
        if not self.holds.value:
            return self._terms.give_up
        return max(0.0, self._renewed_at + self._terms.give_up - self._clock())

    def _give_up_if_late(self) -> None:
        if self._left() <= 0:
            self._lose(f"not renewed for {self._terms.give_up:g} s")

    async def _claim(self, client: KubernetesClient) -> None:
        """Take the Lease if nobody else has it. Raises KubernetesError; ConflictError where another was quicker."""
        if self._lease is not None:
            try:
                await self._replace(self._lease, client)
                return
            except (ConflictError, NotFoundError):
                # Somebody changed or deleted it: what is there now decides.
                self._lease = None
        lease = await self._read(client)
        if lease is None:
            await self._create(client)
        elif self._is_bound_by(lease):
            self._lose(f"{self.holder} has it")
        else:
            await self._replace(lease, client)

    async def _read(self, client: KubernetesClient) -> Lease | None:
        try:
            lease = lease_of(await client.read(LEASES, self._name, namespace=self._namespace))
        except NotFoundError:
            self.holder = ""
            return None
        self.holder = lease.spec.holder
        return lease

    def _is_bound_by(self, lease: Lease) -> bool:
        now = self._clock()
        self._observed = self._observed.next(lease.spec, now=now) if self._observed else ObservedRecord(lease.spec, now)
        return self._observed.binds(self._candidate, now=now, terms=self._terms)

    async def _create(self, client: KubernetesClient) -> None:
        sent_at = self._begin_write()
        record = claimed(None, self._candidate, terms=self._terms, at=datetime.now(UTC))
        body: Object = {"metadata": {"namespace": self._namespace, "name": self._name}, "spec": record}
        self._win(await client.create(LEASES, body, namespace=self._namespace), sent_at)

    async def _replace(self, lease: Lease, client: KubernetesClient) -> None:
        sent_at = self._begin_write()
        record = claimed(lease.spec, self._candidate, terms=self._terms, at=datetime.now(UTC))
        self._win(await client.replace(LEASES, self._name, lease.body(record), namespace=self._namespace), sent_at)

    def _begin_write(self) -> float:
        # From here on the API server may have it, even if its answer is lost.
        self._may_be_ours = True
        return self._clock()

    def _win(self, content: bytes, sent_at: float) -> None:
        self._lease = lease_of(content)
        self.holder = self._lease.spec.holder
        # Others cannot have seen the record before it was sent, so they wait for longer than this replica leads.
        self._renewed_at = sent_at
        if self.holds.set(True):
            self._won_at = sent_at
            logger("lease").info("leads", lease=self._name, candidate=self._candidate)

    def _lose(self, reason: str) -> None:
        self._lease = None
        if self.holds.set(False):
            lasted = round(self._clock() - self._won_at, 1)
            logger("lease").info("does not lead any more", lease=self._name, reason=reason, after=lasted)

    async def _release(self) -> None:
        self._lose("given back")
        if not self._may_be_ours:
            return
        try:
            async with asyncio.timeout(_RELEASED_WITHIN):
                client = self._client.bounded(_RELEASED_WITHIN / 2)
                # Read anew: a renewal whose answer was not waited for has made another version of it.
                lease = await self._read(client)
                if lease is not None and self.holder == self._candidate:
                    body = lease.body(released(lease.spec, at=datetime.now(UTC)))
                    await client.replace(LEASES, self._name, body, namespace=self._namespace)
                    self.holder = ""
        except (KubernetesError, TimeoutError) as error:
            logger("lease").debug("the Lease is not given back", lease=self._name, error=str(error))

    def _tell_of_refusal(self, error: KubernetesError) -> None:
        """Log what only a person can cure, until it is cured."""
        if not self._told_of_refusal:
            words = error.needing(self._permission)
            logger("lease").warning("the Lease cannot be taken", lease=self._name, error=words)
        self._told_of_refusal = True

    @property
    def _permission(self) -> str:
        return f'get, create and update leases of API group "{LEASES.group}" in namespace {self._namespace}'


async def while_leading(leads: Latest[bool], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do `work` whenever `leads` is true, without an end; it is cancelled where the Lease is lost."""
    async for now in leads.values():
        if now:
            async with background_tasks(work=work()):
                await leads.after(leads.version)
