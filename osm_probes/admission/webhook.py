"""Review -> answer: looks the namespace up, has the pod patched and its bootstrap stored."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Protocol

from osm_probes.admission.eligibility import BY_NAMESPACE, exemption
from osm_probes.admission.namespaces import NamespaceFacts, Namespaces
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.patch import Injection, inject
from osm_probes.admission.pod import Pod, UnfitPodError, decode_pod
from osm_probes.admission.review import Denial, Request, allow, decode_review, deny
from osm_probes.admission.self_check import SAMPLE_NAMESPACE, sample_facts
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger


class Store(Protocol):
    """Where bootstraps of new proxies are kept."""

    async def __call__(self, injection: Injection, /) -> None:
        """Store the bootstrap of a new proxy before its pod is let in. Raises OsmError."""

    async def rehearse(self) -> None:
        """Find out whether one could be stored, without doing it. Raises OsmError where not."""


class ReviewObserver(Protocol):
    """Who counts reviews."""

    def reviewed(self, *, kind: str, success: bool) -> None:
        """A review was answered, other than a self-check's. kind: `Pod` or `other`.

        success: False if an error denied it or it was malformed.
        """


def _new_uuid() -> str:
    return str(uuid.uuid4())


class Webhook:
    """Answers reviews of new pods. `within` bounds each answer, in seconds.

    What goes wrong denies the pod, with words: a pod let in without its sidecar would be outside the mesh unseen.
    `store` only rehearses for a self-check, and is not called for dry runs; None: nothing is stored.
    """

    def __init__(
        self,
        options: InjectionOptions,
        *,
        namespaces: Namespaces,
        within: float,
        store: Store | None = None,
        observer: ReviewObserver | None = None,
        new_uuid: Callable[[], str] = _new_uuid,
    ) -> None:
        self._options = options
        self._namespaces = namespaces
        self._within = within
        self._store = store
        self._observer = observer
        self._new_uuid = new_uuid
        self._log = logger("admission")

    def use(self, options: InjectionOptions) -> None:
        """Give sidecars these options from the next pod on."""
        self._options = options

    async def answer(self, body: bytes) -> bytes:
        """The response to a review. Raises MalformedReviewError."""
        try:
            request = decode_review(body)
        except OsmError:
            self._count(None, success=False)
            raise
        if not request.creates_pod:
            self._count(request, success=True)
            return allow(request.uid)
        try:
            async with asyncio.timeout(self._within):
                answer = await self._answer_pod(request)
        except UnfitPodError as error:
            return self._deny(request, Denial(str(error), 400))
        except TimeoutError:
            return self._deny(request, Denial(f"no sidecar within {self._within:g} s; try again", 504))
        except Exception as error:  # the boundary of a request
            words = str(error) if isinstance(error, OsmError) else f"{type(error).__name__}: {error}"
            return self._deny(request, Denial(f"no sidecar: {words}", 500))
        self._count(request, success=True)
        return answer

    async def _answer_pod(self, request: Request) -> bytes:
        pod, options = decode_pod(request.object), self._options
        facts, reason = await self._look_up(pod, request.namespace, options)
        if reason or facts is None:
            self._log.debug("a pod gets no sidecar", namespace=request.namespace, reason=reason)
            return allow(request.uid)
        injection = inject(pod, uuid=self._new_uuid(), namespace=request.namespace, facts=facts, options=options)
        if self._store is not None and request.namespace == SAMPLE_NAMESPACE:
            await self._store.rehearse()
        elif self._store is not None and not request.dry_run:
            await self._store(injection)
            self._log.info(
                "a pod gets a sidecar", namespace=injection.namespace, pod=injection.pod, proxy=injection.proxy.uuid
            )
        return allow(request.uid, patch=injection.operations)

    async def _look_up(self, pod: Pod, namespace: str, options: InjectionOptions) -> tuple[NamespaceFacts | None, str]:
        """The namespace, and why the pod gets no sidecar."""
        # Asked for the sample too: where no namespace can be looked up, no pod can be let in.
        facts = await self._namespaces.known(namespace)
        if namespace == SAMPLE_NAMESPACE:
            facts = sample_facts(options)
        reason = exemption(pod, namespace=namespace, facts=facts, options=options)
        if reason in BY_NAMESPACE:
            # A pod may come right after its namespace was changed: what is a moment old must let nobody in bare.
            facts = await self._namespaces.newest(namespace)
            reason = exemption(pod, namespace=namespace, facts=facts, options=options)
        return facts, reason

    def _deny(self, request: Request, denial: Denial) -> bytes:
        log = self._log.error if denial.code >= 500 else self._log.warning
        if request.namespace == SAMPLE_NAMESPACE:  # whoever asks judges, and tells
            log = self._log.debug
        log("a pod is denied", namespace=request.namespace, uid=request.uid, error=denial.message)
        self._count(request, success=False)
        return deny(request.uid, denial)

    def _count(self, request: Request | None, *, success: bool) -> None:
        if self._observer is None or (request is not None and request.namespace == SAMPLE_NAMESPACE):
            return
        self._observer.reviewed(kind="Pod" if request is not None and request.creates_pod else "other", success=success)
