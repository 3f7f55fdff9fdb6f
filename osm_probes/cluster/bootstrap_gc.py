"""Reconciles bootstrap Secrets: each has the newest trust, a certificate in date, and its pod as owner, or is deleted.

The injector creates a Secret before its pod exists, so the Secret cannot name the pod's uid as its owner. The leader
among the controllers adds the owner as soon as the pod exists.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from osm_probes.cluster.bootstrap_metadata import BootstrapSecret
from osm_probes.cluster.bootstrap_secrets import CredentialIssuer
from osm_probes.cluster.bootstrap_watch import BootstrapSecretWatch, WatchedNamespace
from osm_probes.cluster.certificate_rules import NoCertificateError, certificate_identity
from osm_probes.cluster.refusal_log import RefusalLog
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import TaskPool
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import BusyError, ConflictError, KubernetesError, NotFoundError, UnreachableError
from osm_probes.kube.kind import PODS, SECRETS
from osm_probes.kube.leader_election import run_while_leading
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.kube.wire import AnyObject
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.labels import PROXY_UUID, TRUST_FINGERPRINT
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.proxy_uuid import UuidKey
from osm_probes.sources.objects import Pod

# Longer than the API server's time limit of a request (60 s): a pod that does not exist by then never will.
_ORPHANED_AFTER: Final = 90.0
_RENEWAL_PAUSE: Final = 3600.0
_INTERVAL: Final = 1.0
# The pause after each write, so that thousands of writes overload neither the API server nor this program's streams.
_WRITE_PAUSE: Final = 0.01
_PERMISSION: Final = 'patch and delete secrets and list pods of API group ""'

ProxyPods = Mapping[tuple[str, str], Sequence[Pod]]
"""The pods that have a proxy, by namespace and proxy uuid."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What is known of the cluster.

    mesh: whose namespaces are watched. pods: returns the pods with a proxy; None while they are not known. key: returns
    the key of the proxies' uuids, if there is one.
    """

    mesh: Latest[Mesh | None]
    pods: Callable[[], ProxyPods | None]
    key: Callable[[], UuidKey | None]


class _Owner(msgspec.Struct, frozen=True, rename="camel"):
    """An owner reference to a pod."""

    name: str
    uid: str
    api_version: str = PODS.api_version
    kind: str = PODS.name


class BootstrapGarbageCollector:
    """Reconciles the bootstrap Secrets of the mesh's namespaces while `is_leader` is true.

    distributed_trust: the fingerprint of the trust that the Secrets of all pods have; "" while they differ or are not
    known. orphaned_after: seconds after which a Secret without a pod is deleted. renewal_pause: seconds in which a
    Secret is not renewed again unless the trust has changed, however often a user edits it.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        is_leader: Latest[bool],
        cluster: ClusterView,
        credentials: CredentialIssuer,
        orphaned_after: float = _ORPHANED_AFTER,
        renewal_pause: float = _RENEWAL_PAUSE,
    ) -> None:
        self.distributed_trust = ""
        self._client = client
        self._is_leader = is_leader
        self._cluster = cluster
        self._credentials = credentials
        self._orphaned_after = orphaned_after
        self._renewal_pause = renewal_pause
        self._orphans: dict[str, float] = {}  # uid of a Secret -> the time when it was first seen without its pod
        # Namespace and name of a Secret -> the time of its last renewal, and the trust that it got.
        self._renewed: dict[tuple[str, str], tuple[float, str]] = {}
        self._refusals = RefusalLog(clock=time.monotonic)

    async def run(self) -> None:
        """Reconcile whenever this replica is the leader, until cancelled."""
        await run_while_leading(self._is_leader, self._reconcile_forever)

    async def _reconcile_forever(self) -> None:
        self._orphans.clear()
        self._renewed.clear()
        self.distributed_trust = ""
        backoff = Backoff()
        async with TaskPool("janitor") as pool:
            watch = BootstrapSecretWatch(self._client, pool)
            while True:
                failed = await self._try_pass(watch)
                if not failed:
                    backoff.reset()
                await asyncio.sleep(backoff.pause(at_least=_INTERVAL) if failed else _INTERVAL)

    async def _try_pass(self, watch: BootstrapSecretWatch) -> bool:
        """Reconcile all namespaces once; whether the API server is away or an unforeseen error happened."""
        try:
            return await self._reconcile(watch)
        except Exception as error:  # the boundary of the task: an unforeseen object must not end the program
            self.distributed_trust = ""
            logger("janitor").error("bootstrap Secrets cannot be reconciled", error=f"{type(error).__name__}: {error}")
            return True

    async def _reconcile(self, watch: BootstrapSecretWatch) -> bool:
        mesh, pods = self._cluster.mesh.value, self._cluster.pods()
        if mesh is None or pods is None:
            # While the pods are unknown, no Secret may count as orphaned.
            self._orphans.clear()
            self.distributed_trust = ""
            return False
        watch.follow(mesh.namespaces)
        self._forget(watch)
        for namespace in watch:
            if namespace.is_due and not await self._reconcile_namespace(namespace, pods):
                self.distributed_trust = ""
                return True
        self.distributed_trust = self._find_distributed_trust(watch, pods)
        return False

    def _forget(self, watch: BootstrapSecretWatch) -> None:
        """Drop what is no longer needed to know about Secrets."""
        secrets = [secret for namespace in watch for secret in namespace.secrets]
        self._refusals.keep_only(secrets)
        unowned = {secret.uid for secret in secrets if not secret.owned}
        self._orphans = {uid: since for uid, since in self._orphans.items() if uid in unowned}
        oldest = time.monotonic() - self._renewal_pause
        self._renewed = {key: renewal for key, renewal in self._renewed.items() if renewal[0] > oldest}

    async def _reconcile_namespace(self, namespace: WatchedNamespace, pods: ProxyPods) -> bool:
        """Reconcile the Secrets of a namespace; False if the API server is away."""
        failure = await self._for_each(
            [secret for secret in namespace.secrets if self._is_outdated(secret)],
            lambda secret: self._renew(secret, pods.get((secret.namespace, secret.proxy), ())),
        )
        if not isinstance(failure, UnreachableError | BusyError):
            failure = await self._collect(namespace.secrets, pods) or failure
        text = failure.explain(_PERMISSION) if isinstance(failure, KubernetesError) else str(failure or "")
        namespace.report(text)
        return not isinstance(failure, UnreachableError | BusyError)

    def _is_outdated(self, secret: BootstrapSecret) -> bool:
        """Whether the Secret needs another certificate or other roots now."""
        trust, validity = self._credentials.fingerprint, self._credentials.validity
        if secret.is_current(trust, validity=validity, now=datetime.now(UTC)):
            return False
        # This may be a user's change of an annotation, or the watch may be slower than this write.
        return self._renewed.get((secret.namespace, secret.name), (0.0, ""))[1] != trust

    def _find_distributed_trust(self, watch: BootstrapSecretWatch, pods: ProxyPods) -> str:
        """See `distributed_trust`. A namespace without a proxy need not be readable."""
        with_proxies = {namespace for namespace, _ in pods}
        for namespace in watch:
            if namespace.name not in with_proxies:
                continue
            if not namespace.is_known:
                return ""
            for secret in namespace.secrets:
                needed = pods.get((secret.namespace, secret.proxy), ())
                if needed and self._is_outdated(secret) and self._identity(secret, needed) is not None:
                    return ""
        return self._credentials.fingerprint

    def _identity(self, secret: BootstrapSecret, pods: Sequence[Pod]) -> Identity | None:
        """The identity that the Secret's certificate gets; None, with one warning, if it gets none."""
        try:
            return certificate_identity(secret, pods, key=self._cluster.key())
        except NoCertificateError as error:
            self._refusals.add(secret, str(error))
            return None

    async def _renew(self, secret: BootstrapSecret, pods: Sequence[Pod]) -> None:
        """Write a new certificate and the newest roots. Raises OsmError."""
        if not pods or (identity := self._identity(secret, pods)) is None:
            return
        patch = self._credentials.secret_patch(ProxyName(secret.proxy, SIDECAR, identity))
        trust = patch["metadata"]["annotations"][TRUST_FINGERPRINT]
        patch["metadata"] |= {"uid": secret.uid, "resourceVersion": secret.version}
        await self._client.patch(SECRETS, secret.name, patch, namespace=secret.namespace)
        self._renewed[secret.namespace, secret.name] = (time.monotonic(), trust)
        await asyncio.sleep(_WRITE_PAUSE)

    async def _for_each(
        self, secrets: list[BootstrapSecret], action: Callable[[BootstrapSecret], Awaitable[None]]
    ) -> OsmError | None:
        """Apply `action` to each Secret; the last failure, if any. A rejected write does not delay the others."""
        failure: OsmError | None = None
        for secret in secrets:
            try:
                await action(secret)
            except (NotFoundError, ConflictError) as error:
                # The watch delivers its new version, which the next pass reconciles.
                logger("janitor").debug("a bootstrap Secret has changed", error=str(error))
            except (UnreachableError, BusyError) as error:
                return error
            except OsmError as error:
                failure = error
        return failure

    async def _collect(self, secrets: list[BootstrapSecret], pods: ProxyPods) -> OsmError | None:
        """Set the owner of each Secret that has none, or delete it if it is orphaned; the last failure, if any."""
        unowned = [secret for secret in secrets if not secret.owned]
        for secret in unowned:
            self._orphans.setdefault(secret.uid, time.monotonic())
        return await self._for_each(
            unowned, lambda secret: self._adopt_or_delete(secret, pods.get((secret.namespace, secret.proxy), ()))
        )

    async def _adopt_or_delete(self, secret: BootstrapSecret, pods: Sequence[Pod]) -> None:
        """Make the pods the owners. Without a pod, delete the Secret once it is orphaned. Raises KubernetesError.

        All pods with its uuid become owners: if only a copy did, the Secret would be deleted with the copy.
        """
        if pods:
            await self._set_owners(secret, [_Owner(pod.metadata.name, pod.metadata.uid) for pod in pods])
        elif time.monotonic() - self._orphans[secret.uid] > self._orphaned_after:
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
        await asyncio.sleep(_WRITE_PAUSE)

    async def _delete(self, secret: BootstrapSecret) -> None:
        body: dict[str, Any] = {"preconditions": {"uid": secret.uid, "resourceVersion": secret.version}}
        await self._client.delete(SECRETS, secret.name, namespace=secret.namespace, body=body)
        name = f"{secret.namespace}/{secret.name}"
        logger("janitor").info("a bootstrap Secret is deleted because its pod was never created", secret=name)
        await asyncio.sleep(_WRITE_PAUSE)
