"""Many replicas -> one leader, by a Lease: https://kubernetes.io/docs/concepts/architecture/leases/

Clocks of machines are never compared: another's Lease has ended once it did not change for its duration by our clock.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import AbsentError, ConflictError, KubernetesError
from osm_probes.kube.kind import LEASES

_RELEASED_WITHIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a Lease lasts, when its holder renews it, and after how long without a renewal it gives up; seconds.

    give_up is below duration: the old holder stops before a new one begins.
    """

    duration: float = 15.0
    give_up: float = 10.0
    renew: float = 2.0


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    acquire_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: dict[str, Any]
    spec: _Spec = msgspec.field(default_factory=_Spec)


class Leadership:
    """This replica's part in an election: `holds` while it leads, `holder` who did when last seen.

    Losing the Lease ends nothing but what is done by its holder alone.
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
        self._terms = terms or Terms()
        # Read and written: both fit into what is left when a renewal is due.
        self._client = client.bounded((self._terms.give_up - self._terms.renew) / 2)
        self._namespace = namespace
        self._name = name
        self._candidate = candidate
        self._clock = clock
        self._seen = ""
        self._seen_at = clock()
        self._renewed_at = clock()

    async def run(self) -> None:
        """Lead whenever nobody else does, without an end; the Lease is given back where this is cancelled."""
        try:
            while True:
                await self._try()
                await asyncio.sleep(self._terms.renew)
        finally:
            if self.holds.value:
                await self._release()

    async def _try(self) -> None:
        try:
            held = await self._acquire()
        except KubernetesError as error:
            logger("lease").debug("the Lease cannot be renewed", error=str(error))
            held = self.holds.value and self._clock() - self._renewed_at < self._terms.give_up
        else:
            self._renewed_at = self._clock() if held else self._renewed_at
        if self.holds.set(held):
            logger("lease").info("leads" if held else "does not lead any more", lease=self._name)

    async def _acquire(self) -> bool:
        """Take or renew the Lease if it is ours or nobody's; whether it is ours now."""
        try:
            content = await self._client.read(LEASES, self._name, namespace=self._namespace)
        except AbsentError:
            return await self._create()
        lease = msgspec.json.decode(content, type=_Lease)
        self.holder = lease.spec.holder_identity or ""
        version = str(lease.metadata.get("resourceVersion"))
        if version != self._seen:
            self._seen, self._seen_at = version, self._clock()
        ended = self._clock() - self._seen_at > self._terms.duration
        if self.holder not in ("", self._candidate) and not ended:
            return False
        return await self._take(lease)

    async def _create(self) -> bool:
        body = {"metadata": {"name": self._name}, "spec": self._spec(_Spec())}
        try:
            await self._client.create(LEASES, body, namespace=self._namespace)
        except ConflictError:
            return False
        self.holder = self._candidate
        return True

    async def _take(self, lease: _Lease) -> bool:
        spec = lease.spec
        if self.holder != self._candidate:
            spec = _Spec(lease_transitions=(spec.lease_transitions or 0) + 1)
        try:
            # The version that was read: if another candidate was quicker this is a conflict.
            await self._replace(lease, self._spec(spec))
        except ConflictError:
            return False
        self.holder = self._candidate
        return True

    async def _release(self) -> None:
        self.holds.set(False)
        with contextlib.suppress(KubernetesError, TimeoutError):
            async with asyncio.timeout(_RELEASED_WITHIN):
                content = await self._client.read(LEASES, self._name, namespace=self._namespace)
                lease = msgspec.json.decode(content, type=_Lease)
                if lease.spec.holder_identity == self._candidate:
                    await self._replace(lease, {**self._spec(lease.spec), "holderIdentity": ""})

    async def _replace(self, lease: _Lease, spec: dict[str, Any]) -> None:
        body = {"metadata": lease.metadata, "spec": spec}
        await self._client.replace(LEASES, self._name, body, namespace=self._namespace)

    def _spec(self, before: _Spec) -> dict[str, Any]:
        now = f"{datetime.now(UTC):%FT%T.%fZ}"
        return {
            "holderIdentity": self._candidate,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "acquireTime": before.acquire_time or now,
            "renewTime": now,
            "leaseTransitions": before.lease_transitions or 0,
        }
