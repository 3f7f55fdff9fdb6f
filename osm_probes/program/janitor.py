"""The Secrets with sidecars' bootstraps: each ends with its pod; one whose pod never came is deleted.

At a pod's review it has no uid yet, so its Secret cannot name it as its owner: that is done here, once it is there.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from osm_probes.admission.pod import UUID_LABEL, secret_name
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import beside
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import AbsentError, ConflictError, KubernetesError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.pace import Pace
from osm_probes.kube.wanted import Wanted
from osm_probes.sources.parts import Metadata

_ORPHANED_AFTER: Final = 600.0
_EVERY: Final = 1.0

Pods = Callable[[], Mapping[tuple[str, str], Metadata] | None]
"""The pods that have a proxy, by namespace and the proxy's uuid; None where that is not known now."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A Secret with a bootstrap, by its metadata alone. owned: Kubernetes deletes it with its owner."""

    namespace: str
    name: str
    uid: str
    proxy: str
    owned: bool


class _Stored(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str
    labels: dict[str, str] = {}
    owner_references: list[msgspec.Raw] = []
    deletion_timestamp: str | None = None


class _Secret(msgspec.Struct):
    metadata: _Stored


class Janitor:
    """Looks after the bootstraps of all namespaces while `leads` is true: many at once would do the same thing."""

    def __init__(
        self,
        client: KubernetesClient,
        *,
        leads: Latest[bool],
        pods: Pods,
        orphaned_after: float = _ORPHANED_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._leads = leads
        self._pods = pods
        self._orphaned_after = orphaned_after
        self._clock = clock
        self._orphans: dict[str, float] = {}  # uid -> since when it was seen without its pod

    async def run(self) -> None:
        """Look after them, without an end."""
        async for leads in self._leads.values():
            if leads:
                async with beside(work=self._work()):
                    await self._leads.after(self._leads.version)

    async def _work(self) -> None:
        self._orphans.clear()
        pace, wake = Pace(), asyncio.Event()
        wanted = Wanted(SECRETS, labels=UUID_LABEL, metadata=True)
        informer: Informer[Bootstrap] = Informer(self._client, wanted, decode=bootstrap_of, notify=wake.set)
        async with beside(watch=informer.run()):
            while True:
                try:
                    await self._sweep(list(informer.objects.values()))
                    pace.reset()
                    await asyncio.sleep(_EVERY)
                except KubernetesError as error:
                    logger("janitor").debug("a bootstrap's Secret cannot be changed", error=str(error))
                    await asyncio.sleep(pace.pause())

    async def _sweep(self, found: list[Bootstrap]) -> None:
        pods = self._pods()
        if pods is None:
            # Who cannot see the pods must not take any for missing.
            self._orphans.clear()
            return
        unowned = [each for each in found if not each.owned]
        self._orphans = {each.uid: self._orphans.get(each.uid, self._clock()) for each in unowned}
        for each in unowned:
            if pod := pods.get((each.namespace, each.proxy)):
                await self._adopt(each, pod)
            elif self._clock() - self._orphans[each.uid] > self._orphaned_after:
                await self._delete(each)

    async def _adopt(self, each: Bootstrap, pod: Metadata) -> None:
        owner = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
        # With the uid it is this very Secret or a conflict.
        body = {"metadata": {"uid": each.uid, "ownerReferences": [owner]}}
        try:
            await self._client.patch(SECRETS, each.name, body, namespace=each.namespace)
        except (AbsentError, ConflictError):
            return

    async def _delete(self, each: Bootstrap) -> None:
        body: dict[str, Any] = {"preconditions": {"uid": each.uid}}
        try:
            await self._client.delete(SECRETS, each.name, namespace=each.namespace, body=body)
        except (AbsentError, ConflictError):
            return
        logger("janitor").info("a bootstrap whose pod never came is deleted", secret=f"{each.namespace}/{each.name}")


def bootstrap_of(content: bytes) -> Bootstrap | None:
    """A Secret's metadata -> the bootstrap that it holds; None if it is another's, or on its way out."""
    stored = msgspec.json.decode(content, type=_Secret).metadata
    proxy = stored.labels.get(UUID_LABEL, "")
    if stored.name != secret_name(proxy) or stored.deletion_timestamp:
        return None
    return Bootstrap(stored.namespace, stored.name, stored.uid, proxy, bool(stored.owner_references))
