"""The mesh's certificate authority (CA) in a Secret: created once, shared by all replicas, never overwritten."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from osm_probes.cluster.ca_secret_content import (
    PRIVATE_KEY,
    ROOT_KEY,
    Authorities,
    CaSecretContent,
    CaSecretError,
    decode_ca_secret,
    load_authorities,
    next_trust,
)
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Changes, Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import JsonObject, KubernetesClient
from osm_probes.kube.errors import ConflictError, ForbiddenError, KubernetesError, NotFoundError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.list_options import ListOptions
from osm_probes.mesh.labels import CA_SIGNS_SINCE, MANAGED_BY
from osm_probes.pki.authority import Authority, InvalidAuthorityError
from osm_probes.pki.trust import Trust

_IT: Final = "the Secret of the certificate authority"


@dataclass(frozen=True, slots=True)
class StoredCa:
    """The contents of the Secret, and the CAs that they describe."""

    content: CaSecretContent
    authorities: Authorities

    @classmethod
    def of(cls, content: CaSecretContent) -> "StoredCa":
        """Raises InvalidAuthorityError."""
        return cls(content, load_authorities(content))


class CaSecret:
    """The Secret `name` with the CA in `ca.crt` and `private.key`, and with the previous CA during a rotation.

    problem: why the Secret cannot be used now, while the program continues with the CA that it has; false if it
    can.
    stored: the last usable contents; None before the first read.
    """

    def __init__(self, client: KubernetesClient, *, namespace: str, name: str, common_name: str) -> None:
        self.problem: Latest[Problem] = Latest(Problem())
        self.stored: Latest[StoredCa | None] = Latest(None)
        self._client = client
        self._namespace = namespace
        self._name = name
        self._common_name = common_name
        self._display_name = f"Secret {namespace}/{name}"
        self._problem_log = ProblemLog(
            "pki",
            began="the certificate authority's Secret cannot be used",
            ended="the certificate authority's Secret can be used again",
            level="error",
            repeat=Repeat.WHEN_CHANGED,
        )

    async def load_or_create(self, *, on_waiting: Callable[[Problem], None]) -> Trust:
        """Load the CA, or create it: of several replicas that start at once, one creates it and all load the same.

        While the API server does not respond this retries and passes each new reason to `on_waiting`. Raises
        CaSecretError if the Secret exists but cannot be used.
        """
        backoff = Backoff(most=2.0)
        waiting = ProblemLog(
            "pki",
            began="waiting for the certificate authority",
            ended="the certificate authority is available",
            repeat=Repeat.WHEN_CHANGED,
        )
        while True:
            try:
                trust = await self._load_or_create()
            except KubernetesError as error:
                reason = f"{self._display_name} cannot be read: {error.explain(self._permission)}"
                if waiting.update(reason):
                    on_waiting(Problem(f"{_IT} cannot be read: {error.summary}", reason))
                await asyncio.sleep(backoff.pause(at_least=error.retry_after))
            else:
                waiting.update("")
                return trust

    @property
    def _permission(self) -> str:
        return f"get, list, watch and create secrets in namespace {self._namespace}"

    async def _load_or_create(self) -> Trust:
        try:
            content = decode_ca_secret(await self._client.read(SECRETS, self._name, namespace=self._namespace))
        except NotFoundError:
            authority = Authority.create(self._common_name)
            content = CaSecretContent(authority.root_pem, authority.key_pem)
            try:
                await self._create(content)
            except ConflictError:
                # Another replica was faster: use its CA.
                return await self._load_or_create()
            logger("pki").info("a certificate authority is created", secret=self._display_name)
        try:
            stored = StoredCa.of(content)
        except InvalidAuthorityError as error:
            raise CaSecretError(
                f"{self._display_name}: {error}; nothing was overwritten: put the right pair {ROOT_KEY} and "
                f"{PRIVATE_KEY} back, or delete the Secret for a new authority (proxies then need a restart)"
            ) from error
        self.stored.set(stored)
        return next_trust(stored.authorities)

    async def _create(self, content: CaSecretContent) -> None:
        """Create the Secret. Raises KubernetesError; ConflictError if it exists, because it is never overwritten."""
        metadata: dict[str, Any] = {"name": self._name, "labels": {MANAGED_BY: "osm-probes"}}
        if content.signs_since:
            metadata["annotations"] = {CA_SIGNS_SINCE: content.signs_since}
        body = {"metadata": metadata, "type": "Opaque", "data": content.data}
        await self._client.create(SECRETS, body, namespace=self._namespace)

    async def patch(self, stored: StoredCa, patch: JsonObject) -> None:
        """Patch the Secret. Raises KubernetesError; ConflictError if its version is no longer that of `stored`."""
        metadata: dict[str, Any] = {**patch.get("metadata", {}), "resourceVersion": stored.content.version}
        await self._client.patch(SECRETS, self._name, {**patch, "metadata": metadata}, namespace=self._namespace)

    async def follow(self, trust: Latest[Trust]) -> None:
        """Watch the Secret and set `trust` to what it says, until cancelled. Call `load_or_create` first.

        A deleted Secret is created again, because proxies trust no other CA. A CA that somebody put in is trusted at
        once and signs when the Secret says so. A Secret that cannot be used becomes `problem` and is not changed.
        """
        changes = Changes()
        options = ListOptions(SECRETS, namespace=self._namespace, fields=f"metadata.name={self._name}")
        informer: Informer[CaSecretContent] = Informer(
            self._client, options, decode=decode_ca_secret, notify=changes.notify
        )
        async with background_tasks(watch=informer.run()):
            async for _ in changes.values():
                if informer.synced:
                    content = informer.objects.get((self._namespace, self._name))
                    problem = await self._restore() if content is None else self._apply(content, trust)
                    self._problem_log.update(str(problem))
                    self.problem.set(problem)

    def _apply(self, content: CaSecretContent, trust: Latest[Trust]) -> Problem:
        """Set `trust` by the contents; the problem, if they cannot be used."""
        try:
            self.stored.set(stored := StoredCa.of(content))
            trust.set(next_trust(stored.authorities, current=trust.value))
        except InvalidAuthorityError as error:
            summary = f"{_IT} cannot be used; the authority in use stays until a restart"
            return Problem(summary, f"{self._display_name}: {error}; the authority in use stays until a restart")
        return Problem()

    async def _restore(self) -> Problem:
        """Create the deleted Secret again; the problem, if that is forbidden."""
        stored = self.stored.value
        if stored is None:
            raise RuntimeError("follow() before load_or_create()")
        backoff = Backoff()
        while True:
            try:
                await self._create(stored.content)
            except ConflictError:
                return Problem()  # another replica was faster
            except ForbiddenError as error:
                deleted = "was deleted and cannot be created again"
                return Problem(f"{_IT} {deleted}: {error.summary}", f"{self._display_name} {deleted}: {error}")
            except KubernetesError:
                await asyncio.sleep(backoff.pause())
            else:
                logger("pki").warning(
                    "the certificate authority's Secret was deleted: it is created again", secret=self._display_name
                )
                return Problem()
