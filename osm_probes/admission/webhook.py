"""AdmissionReview -> response: looks up the namespace, patches the pod and stores its bootstrap."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from osm_probes.admission.bootstrap_budget import BootstrapBudget, TooManyPendingError
from osm_probes.admission.canary_review import CANARY_NAMESPACE, canary_namespace_metadata
from osm_probes.admission.eligibility import NAMESPACE_REASONS, ineligibility_reason
from osm_probes.admission.namespaces import NamespaceLookup
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.patch import SidecarInjection, inject_sidecar
from osm_probes.admission.pod import InjectionError, Pod, decode_pod
from osm_probes.admission.pod_rules import check_pod
from osm_probes.admission.review import AdmissionRequest, Denial, MalformedReviewError, allow, decode_review, deny
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.foundation.text import excerpt
from osm_probes.health.checks import coalesced
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import NamespaceMetadata
from osm_probes.mesh.names import is_dns_label
from osm_probes.mesh.proxy_uuid import random_uuid

_LARGE: Final = 64 * 1024
"""Bytes of a body that is decoded in a thread. Hardly any real pod is as large."""
_THREADS: Final = 2
_KEEP_PERMISSION: Final = 0.25

T = TypeVar("T")


class BootstrapStore(Protocol):
    """Stores the bootstraps of new proxies."""

    async def store(self, injection: SidecarInjection) -> None:
        """Store the bootstrap of a new proxy, before its pod is admitted. Raises OsmError."""

    async def check_permission(self) -> None:
        """Check, without a change, that a bootstrap could be stored. Raises OsmError if not."""


class ReviewObserver(Protocol):
    """Sees reviews, such as for metrics. The canary's are not reported."""

    def arrived(self, request: AdmissionRequest) -> None:
        """A review of a new pod arrived, maybe in a dry run."""

    def reviewed(self, *, kind: str, success: bool) -> None:
        """A review was answered. kind: `Pod` or `other`.

        success: False if the review was malformed, or if an error denied the pod.
        """


NewUuid = Callable[[Identity], str]
"""Makes the uuid of a new proxy with this identity."""


class Webhook:
    """Answers reviews of new pods. within: the time limit of each answer, in seconds.

    Every failure denies the pod: a pod that is admitted without its sidecar would be outside the mesh, unnoticed.
    Large reviews are decoded in two threads, where they wait for each other; small ones do not wait for them.
    bootstrap_store: not used for dry runs, and only checked for the canary; None: bootstraps are not stored.
    """

    def __init__(
        self,
        options: InjectionOptions,
        *,
        namespaces: NamespaceLookup,
        within: float,
        bootstrap_store: BootstrapStore | None = None,
        observer: ReviewObserver | None = None,
        new_uuid: NewUuid = random_uuid,
    ) -> None:
        self._options = options
        self._namespaces = namespaces
        self._within = within
        self._bootstrap_store = bootstrap_store
        if bootstrap_store is not None:
            # Anybody can send the canary's review, and each check is a request to the API server.
            self._check_permission = coalesced(bootstrap_store.check_permission, keep=_KEEP_PERMISSION)
        self._observer = observer
        self._new_uuid = new_uuid
        self._budget = BootstrapBudget()
        self._threads = ThreadPoolExecutor(_THREADS, "review")  # it starts a thread when there is work for it
        self._log = logger("admission")
        # Whoever reaches the port can cause these lines.
        self._injection_log = RateLimitedLog("admission", limit=600)
        self._denial_log = RateLimitedLog("admission", limit=60)

    def update_options(self, options: InjectionOptions) -> None:
        """Use these options from the next pod on."""
        self._options = options

    async def answer(self, body: bytes, *, client: str = "") -> bytes:
        """The response to a review. Raises MalformedReviewError. client: the IP address that it came from."""
        try:
            request = await self._decode(decode_review, body)
            if request.creates_pod and request.namespace != CANARY_NAMESPACE and not is_dns_label(request.namespace):
                raise MalformedReviewError(f"the request's namespace {excerpt(request.namespace)} is no DNS label")
        except OsmError:
            self._count(None, success=False)
            raise
        if not request.creates_pod:
            self._count(request, success=True)
            return allow(request.uid)
        if self._observer is not None and request.namespace != CANARY_NAMESPACE:
            self._observer.arrived(request)
        try:
            async with asyncio.timeout(self._within):
                response = await self._review_pod(request, client)
        except TooManyPendingError as error:
            return self._deny(request, Denial(str(error), 429))
        except InjectionError as error:
            return self._deny(request, Denial(str(error), 400))
        except TimeoutError:
            return self._deny(request, Denial(f"no sidecar within {self._within:g} s; try again", 504))
        except Exception as error:  # the boundary of a request
            text = str(error) if isinstance(error, OsmError) else f"{type(error).__name__}: {error}"
            return self._deny(request, Denial(f"no sidecar: {text}", 500))
        self._count(request, success=True)
        return response

    async def _review_pod(self, request: AdmissionRequest, client: str) -> bytes:
        pod, options = await self._decode(decode_pod, bytes(request.object)), self._options
        metadata, reason = await self._check_eligibility(pod, request.namespace, options)
        if reason or metadata is None:
            self._log.debug("a pod gets no sidecar", namespace=request.namespace, reason=reason)
            return allow(request.uid)
        check_pod(pod, namespace=request.namespace)
        uuid = self._new_uuid(pod.identity(request.namespace))
        injection = inject_sidecar(pod, uuid=uuid, namespace=request.namespace, metadata=metadata, options=options)
        await self._store_bootstrap(injection, request, client)
        return allow(request.uid, patch=injection.operations)

    async def _store_bootstrap(self, injection: SidecarInjection, request: AdmissionRequest, client: str) -> None:
        if self._bootstrap_store is None:
            return
        if request.namespace == CANARY_NAMESPACE:
            await self._check_permission()
        elif not request.dry_run:
            self._budget.take(client=client, namespace=request.namespace)
            await self._bootstrap_store.store(injection)
            self._injection_log.info(
                "a pod gets a sidecar", namespace=injection.namespace, pod=injection.pod, proxy=injection.proxy.uuid
            )

    async def _decode(self, decode: Callable[[bytes], T], body: bytes) -> T:
        if len(body) <= _LARGE:
            return decode(body)
        return await asyncio.get_running_loop().run_in_executor(self._threads, decode, body)

    async def _check_eligibility(
        self, pod: Pod, namespace: str, options: InjectionOptions
    ) -> tuple[NamespaceMetadata | None, str]:
        """The namespace's metadata, and why the pod gets no sidecar."""
        # Also for the canary: if lookups fail, pods are denied, and the canary must notice that.
        metadata = await self._namespaces.get_cached(namespace)
        if namespace == CANARY_NAMESPACE:
            metadata = canary_namespace_metadata(options)
        reason = ineligibility_reason(pod, namespace=namespace, metadata=metadata, options=options)
        if reason in NAMESPACE_REASONS:
            # The namespace may have changed just before the pod was created. Outdated metadata must not admit the pod
            # without a sidecar.
            metadata = await self._namespaces.get_current(namespace)
            reason = ineligibility_reason(pod, namespace=namespace, metadata=metadata, options=options)
        return metadata, reason

    def _deny(self, request: AdmissionRequest, denial: Denial) -> bytes:
        log = self._denial_log.error if denial.code >= 500 else self._denial_log.warning
        if request.namespace == CANARY_NAMESPACE:  # the judge logs a failing check itself
            log = self._log.debug
        log("a pod is denied", namespace=request.namespace, uid=request.uid, error=denial.message)
        self._count(request, success=False)
        return deny(request.uid, denial)

    def _count(self, request: AdmissionRequest | None, *, success: bool) -> None:
        if self._observer is None or (request is not None and request.namespace == CANARY_NAMESPACE):
            return
        self._observer.reviewed(kind="Pod" if request is not None and request.creates_pod else "other", success=success)
