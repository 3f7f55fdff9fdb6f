"""Reconciles bootstrap Secrets: each has the newest trust and its pod as owner; one without a pod is deleted.

The injector creates a Secret before its pod exists, so the Secret cannot name the pod's uid as its owner. The leader
among the controllers adds the owner as soon as the pod exists.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.cluster.bootstrap_secrets import CredentialIssuer
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog
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
from osm_probes.kube.leader_election import run_while_leading
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.kube.wire import AnyObject
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.labels import PROXY_UUID, TRUST_FINGERPRINT
from osm_probes.sources.objects import Pod

_ORPHANED_AFTER: Final = 600.0
_INTERVAL: Final = 1.0
# The pause after each write, so that thousands of writes overload neither the API server nor this program's streams.
_WRITE_PAUSE: Final = 0.01
_PERMISSION: Final = 'patch and delete secrets and list pods of API group ""'

Pods = Callable[[], Mapping[tuple[str, str], Pod] | None]
"""Returns the pods that have a proxy, by namespace and proxy uuid; None while they are not known."""


@dataclass(frozen=True, slots=True)
class BootstrapSecret:
    """The metadata of a bootstrap Secret.

    proxy: the proxy's uuid. owned: it has an owner, with which Kubernetes deletes it. trust: the fingerprint of the
    trust that its certificate and roots come from.
    """

    namespace: str
    name: str
    uid: str
    version: str
    proxy: str
    owned: bool
    trust: str


class _Owner(msgspec.Struct, frozen=True, rename="camel"):
    """An owner reference to a pod."""

    name: str
    uid: str
    api_version: str = PODS.api_version
    kind: str = PODS.name


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str
    resource_version: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[msgspec.Raw] = []
    deletion_timestamp: str | None = None


class _Secret(msgspec.Struct):
    metadata: _Metadata


class BootstrapGarbageCollector:
    """Reconciles the bootstrap Secrets of all namespaces while `is_leader` is true.

    distributed_trust: the fingerprint of the trust that the Secrets of all pods have; "" while they differ or are not
    known. orphaned_after: seconds after which a Secret without a pod is deleted.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        is_leader: Latest[bool],
        pods: Pods,
        credentials: CredentialIssuer,
        orphaned_after: float = _ORPHANED_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.distributed_trust = ""
        self._client = client
        self._is_leader = is_leader
        self._pods = pods
        self._credentials = credentials
        self._orphaned_after = orphaned_after
        self._clock = clock
        self._orphans: dict[str, float] = {}  # uid of a Secret -> the time when it was first seen without its pod
        self._problem = ProblemLog(
            "janitor",
            began="bootstrap Secrets cannot be reconciled",
            ended="bootstrap Secrets are reconciled again",
            clock=clock,
        )

    async def run(self) -> None:
        """Reconcile whenever this replica is the leader, until cancelled."""
        await run_while_leading(self._is_leader, self._reconcile_forever)

    async def _reconcile_forever(self) -> None:
        self._orphans.clear()
        self.distributed_trust = ""
        backoff = Backoff()
        options = ListOptions(SECRETS, labels=PROXY_UUID, metadata=True)
        informer: Informer[BootstrapSecret] = Informer(
            self._client, options, decode=decode_bootstrap_secret, notify=_ignore_change
        )
        async with background_tasks(watch=informer.run()):
            while True:
                secrets = list(informer.objects.values())
                failure = await self._refresh_trust(secrets) or await self._collect(secrets)
                if not informer.synced or informer.problem:
                    self.distributed_trust = ""
                self._problem.update(str(informer.problem) or (failure.explain(_PERMISSION) if failure else ""))
                if failure is None:
                    backoff.reset()
                await asyncio.sleep(_INTERVAL if failure is None else backoff.pause(at_least=_INTERVAL))

    async def _refresh_trust(self, secrets: list[BootstrapSecret]) -> KubernetesError | None:
        """Write the newest trust into the Secrets of all pods; the last failure, if any."""
        pods, trust = self._pods(), self._credentials.fingerprint
        self.distributed_trust = self.distributed_trust if self.distributed_trust == trust else ""
        if pods is None:
            return None
        outdated = [secret for secret in secrets if secret.trust != trust and (secret.namespace, secret.proxy) in pods]
        self.distributed_trust = "" if outdated else trust
        return await self._for_each(outdated, lambda secret: self._renew(secret, pods[secret.namespace, secret.proxy]))

    async def _renew(self, secret: BootstrapSecret, pod: Pod) -> None:
        identity = Identity(secret.namespace, pod.spec.service_account_name)
        patch = self._credentials.secret_patch(ProxyName(secret.proxy, SIDECAR, identity))
        patch["metadata"] |= {"uid": secret.uid, "resourceVersion": secret.version}
        await self._client.patch(SECRETS, secret.name, patch, namespace=secret.namespace)

    async def _for_each(
        self, secrets: list[BootstrapSecret], action: Callable[[BootstrapSecret], Awaitable[None]]
    ) -> KubernetesError | None:
        """Apply `action` to each Secret; the last failure, if any. A rejected write does not delay the others."""
        failure: KubernetesError | None = None
        for secret in secrets:
            try:
                await action(secret)
                await asyncio.sleep(_WRITE_PAUSE)
            except (NotFoundError, ConflictError) as error:
                # The watch delivers its new version, which the next pass reconciles.
                logger("janitor").debug("a bootstrap Secret has changed", error=str(error))
            except (UnreachableError, BusyError) as error:
                return error
            except KubernetesError as error:
                failure = error
        return failure

    async def _collect(self, secrets: list[BootstrapSecret]) -> KubernetesError | None:
        """Set the owner of each Secret that has none, or delete it if it is orphaned; the last failure, if any."""
        pods = self._pods()
        if pods is None:
            # While the pods are unknown, no Secret may count as orphaned.
            self._orphans.clear()
            return None
        unowned = [secret for secret in secrets if not secret.owned]
        self._orphans = {secret.uid: self._orphans.get(secret.uid, self._clock()) for secret in unowned}
        return await self._for_each(
            unowned, lambda secret: self._adopt_or_delete(secret, pods.get((secret.namespace, secret.proxy)))
        )

    async def _adopt_or_delete(self, secret: BootstrapSecret, pod: Pod | None) -> None:
        """Make the pod the owner. Without a pod, delete the Secret once it is orphaned. Raises KubernetesError."""
        if pod is not None:
            await self._set_owners(secret, [_Owner(pod.metadata.name, pod.metadata.uid)])
        elif self._clock() - self._orphans[secret.uid] > self._orphaned_after:
            # A watch can lag behind, and a deletion is final: list the pod once more.
            if owners := await self._list_owners(secret):
                await self._set_owners(secret, owners)
            else:
                await self._delete(secret)

    async def _list_owners(self, secret: BootstrapSecret) -> list[_Owner]:
        labels = f"{PROXY_UUID}={secret.proxy}"
        options = ListOptions(PODS, namespace=secret.namespace, labels=labels, metadata=True)
        pods = await list_objects(self._client, options, type=AnyObject)
        return [_Owner(pod.metadata.name, pod.metadata.uid) for pod in pods]

    async def _set_owners(self, secret: BootstrapSecret, owners: list[_Owner]) -> None:
        # With uid and resourceVersion, a Secret that changed since is a conflict: no other reference is overwritten.
        body = {"metadata": {"uid": secret.uid, "resourceVersion": secret.version, "ownerReferences": owners}}
        await self._client.patch(SECRETS, secret.name, body, namespace=secret.namespace)

    async def _delete(self, secret: BootstrapSecret) -> None:
        body: dict[str, Any] = {"preconditions": {"uid": secret.uid, "resourceVersion": secret.version}}
        await self._client.delete(SECRETS, secret.name, namespace=secret.namespace, body=body)
        name = f"{secret.namespace}/{secret.name}"
        logger("janitor").info("a bootstrap Secret is deleted because its pod was never created", secret=name)


def _ignore_change() -> None:
    """The informer is read once a second instead."""


def decode_bootstrap_secret(content: bytes) -> BootstrapSecret | None:
    """The metadata of a Secret, as JSON; None if it is no bootstrap Secret or is being deleted.

    Raises KubernetesError.
    """
    try:
        metadata = msgspec.json.decode(content, type=_Secret).metadata
    except msgspec.DecodeError as error:
        raise KubernetesError(f"the metadata of a Secret cannot be decoded: {error}") from error
    proxy = metadata.labels.get(PROXY_UUID, "")
    if metadata.name != bootstrap_secret_name(proxy) or metadata.deletion_timestamp:
        return None
    return BootstrapSecret(
        metadata.namespace,
        metadata.name,
        metadata.uid,
        metadata.resource_version,
        proxy,
        owned=bool(metadata.owner_references),
        trust=metadata.annotations.get(TRUST_FINGERPRINT, ""),
    )
