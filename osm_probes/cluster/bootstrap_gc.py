"""Sidecars' Secrets: each follows the authority and ends with its pod; one whose pod never came is deleted.

At a pod's review it has no uid yet, so its Secret cannot name it as its owner: that is done here, once it is there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from osm_probes.admission.pod import secret_name
from osm_probes.cluster.bootstrap_secrets import Credentials
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import (
    BusyError,
    ConflictError,
    KubernetesError,
    NotFoundError,
    UnreachableError,
)
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import PODS, SECRETS
from osm_probes.kube.leader_election import while_leading
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.wire import page_of, thing_of
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.labels import PROXY_UUID, TRUST_MARK
from osm_probes.sources.objects import Pod

_ORPHANED_AFTER: Final = 600.0
_EVERY: Final = 1.0
# After each write, so that thousands at once are no load for the API server, nor for the streams of this program.
_BREATH: Final = 0.01
_PERMISSION: Final = 'patch and delete secrets and list pods of API group ""'

Pods = Callable[[], Mapping[tuple[str, str], Pod] | None]
"""The pods that have a proxy, by namespace and the proxy's uuid; None where that is not known now."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A Secret with a bootstrap, by its metadata alone.

    owned: Kubernetes deletes it with its owner. mark: of the trust that it was made by.
    """

    namespace: str
    name: str
    uid: str
    version: str
    proxy: str
    owned: bool
    mark: str


class _Owner(msgspec.Struct, frozen=True, rename="camel"):
    """A pod, as what depends on it refers to it."""

    name: str
    uid: str
    api_version: str = PODS.api_version
    kind: str = PODS.name


class _Stored(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str
    resource_version: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[msgspec.Raw] = []
    deletion_timestamp: str | None = None


class _Secret(msgspec.Struct):
    metadata: _Stored


class BootstrapGarbageCollector:
    """Looks after the bootstraps of all namespaces while `leads` is true: many at once would do the same thing.

    `refreshed` is the mark of the trust that the Secrets of all pods have; "" where that is not known, or not so.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        leads: Latest[bool],
        pods: Pods,
        credentials: Credentials,
        orphaned_after: float = _ORPHANED_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refreshed = ""
        self._client = client
        self._leads = leads
        self._pods = pods
        self._credentials = credentials
        self._orphaned_after = orphaned_after
        self._clock = clock
        self._orphans: dict[str, float] = {}  # uid -> since when it was seen without its pod
        self._fell_at: float | None = None

    async def run(self) -> None:
        """Look after them, without an end."""
        await while_leading(self._leads, self._work)

    async def _work(self) -> None:
        self._orphans.clear()
        self.refreshed = ""
        backoff = Backoff()
        wanted = ListOptions(SECRETS, labels=PROXY_UUID, metadata=True)
        informer: Informer[Bootstrap] = Informer(self._client, wanted, decode=bootstrap_of, notify=_unheard)
        async with background_tasks(watch=informer.run()):
            while True:
                found = list(informer.objects.values())
                failure = await self._refresh(found) or await self._sweep(found)
                if not informer.synced or informer.trouble:
                    self.refreshed = ""
                self._tell(informer.trouble or _words(failure))
                if failure is None:
                    backoff.reset()
                await asyncio.sleep(_EVERY if failure is None else backoff.pause(at_least=_EVERY))

    async def _refresh(self, found: list[Bootstrap]) -> KubernetesError | None:
        """Have all follow the newest trust; the last failure, if any."""
        pods, mark = self._pods(), self._credentials.mark
        self.refreshed = self.refreshed if self.refreshed == mark else ""
        if pods is None:
            return None
        outdated = [each for each in found if each.mark != mark and (each.namespace, each.proxy) in pods]
        self.refreshed = "" if outdated else mark
        return await self._each(outdated, lambda each: self._renew(each, pods[each.namespace, each.proxy]))

    async def _renew(self, each: Bootstrap, pod: Pod) -> None:
        identity = Identity(each.namespace, pod.spec.service_account_name)
        change = self._credentials.content(ProxyName(each.proxy, SIDECAR, identity))
        change["metadata"] |= {"uid": each.uid, "resourceVersion": each.version}
        await self._client.patch(SECRETS, each.name, change, namespace=each.namespace)

    async def _each(self, found: list[Bootstrap], do: Callable[[Bootstrap], Awaitable[None]]) -> KubernetesError | None:
        """The last failure, if any. A Secret that is refused keeps no other waiting."""
        failure: KubernetesError | None = None
        for each in found:
            try:
                await do(each)
                await asyncio.sleep(_BREATH)
            except (NotFoundError, ConflictError) as error:
                # It changed meanwhile: the watch tells what it is now.
                logger("janitor").debug("a bootstrap's Secret has changed", error=str(error))
            except (UnreachableError, BusyError) as error:
                return error
            except KubernetesError as error:
                failure = error
        return failure

    async def _sweep(self, found: list[Bootstrap]) -> KubernetesError | None:
        """Give each its owner, or end it; the last failure, if any."""
        pods = self._pods()
        if pods is None:
            # Who cannot see the pods must not take any for missing.
            self._orphans.clear()
            return None
        unowned = [each for each in found if not each.owned]
        self._orphans = {each.uid: self._orphans.get(each.uid, self._clock()) for each in unowned}
        return await self._each(unowned, lambda each: self._tend(each, pods.get((each.namespace, each.proxy))))

    async def _tend(self, each: Bootstrap, pod: Pod | None) -> None:
        """Let it end with its pod, or end it if there was none for long. Raises KubernetesError."""
        if pod is not None:
            await self._adopt(each, [_Owner(pod.metadata.name, pod.metadata.uid)])
        elif self._clock() - self._orphans[each.uid] > self._orphaned_after:
            # A watch can be behind; what is deleted does not come back.
            if found := await self._pods_of(each):
                await self._adopt(each, found)
            else:
                await self._delete(each)

    async def _pods_of(self, each: Bootstrap) -> list[_Owner]:
        wanted = ListOptions(PODS, namespace=each.namespace, labels=f"{PROXY_UUID}={each.proxy}", metadata=True)
        accept = wanted.accept("PartialObjectMetadataList")
        content = await self._client.ask("GET", PODS.path(namespace=each.namespace), query=wanted.query, accept=accept)
        try:
            found = [thing_of(bytes(item)).metadata for item in page_of(content).items or ()]
        except msgspec.DecodeError as error:
            raise KubernetesError(f"no list of pods: {error}") from error
        return [_Owner(pod.name, pod.uid) for pod in found]

    async def _adopt(self, each: Bootstrap, pods: list[_Owner]) -> None:
        # With uid and version it is this very Secret as it was seen, or a conflict: nobody's reference is overwritten.
        body = {"metadata": {"uid": each.uid, "resourceVersion": each.version, "ownerReferences": pods}}
        await self._client.patch(SECRETS, each.name, body, namespace=each.namespace)

    async def _delete(self, each: Bootstrap) -> None:
        body: dict[str, Any] = {"preconditions": {"uid": each.uid, "resourceVersion": each.version}}
        await self._client.delete(SECRETS, each.name, namespace=each.namespace, body=body)
        logger("janitor").info("a bootstrap whose pod never came is deleted", secret=f"{each.namespace}/{each.name}")

    def _tell(self, problem: str) -> None:
        """Log that something became wrong, and that all is well again."""
        if problem and self._fell_at is None:
            self._fell_at = self._clock()
            logger("janitor").warning("bootstraps cannot be looked after now", error=problem)
        elif self._fell_at is not None and not problem:
            after = round(self._clock() - self._fell_at, 1)
            logger("janitor").info("bootstraps are looked after again", after=after)
            self._fell_at = None


def _unheard() -> None:
    """Each second is soon enough."""


def _words(failure: KubernetesError | None) -> str:
    return failure.needing(_PERMISSION) if failure is not None else ""


def bootstrap_of(content: bytes) -> Bootstrap | None:
    """A Secret's metadata -> the bootstrap that it holds; None if it is another's, or on its way out.

    Raises KubernetesError.
    """
    try:
        stored = msgspec.json.decode(content, type=_Secret).metadata
    except msgspec.DecodeError as error:
        raise KubernetesError(f"no metadata of a Secret: {error}") from error
    proxy = stored.labels.get(PROXY_UUID, "")
    if stored.name != secret_name(proxy) or stored.deletion_timestamp:
        return None
    return Bootstrap(
        stored.namespace,
        stored.name,
        stored.uid,
        stored.resource_version,
        proxy,
        owned=bool(stored.owner_references),
        mark=stored.annotations.get(TRUST_MARK, ""),
    )
