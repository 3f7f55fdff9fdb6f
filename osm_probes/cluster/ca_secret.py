"""The mesh's certificate authority in a Secret of the cluster: made once, shared by all replicas, never overwritten."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from osm_probes.cluster.ca_secret_content import (
    PRIVATE_KEY,
    ROOT_KEY,
    Authorities,
    AuthoritySecretError,
    Content,
    authorities,
    content_of,
    trust_of,
)
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import KubernetesClient, Object
from osm_probes.kube.errors import ConflictError, ForbiddenError, KubernetesError, NotFoundError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.list_options import ListOptions
from osm_probes.mesh.labels import CA_SIGNS_SINCE
from osm_probes.pki.authority import Authority, InvalidAuthorityError
from osm_probes.pki.trust import Trust


@dataclass(frozen=True, slots=True)
class Stored:
    """What the Secret holds, and the authorities that it means."""

    content: Content
    authorities: Authorities

    @classmethod
    def of(cls, content: Content) -> "Stored":
        """Raises InvalidAuthorityError."""
        return cls(content, authorities(content))


class AuthoritySecret:
    """The Secret `name` with the pair `ca.crt` and `private.key`, and the one before it while that is replaced.

    `problem` says what is wrong with it while the program runs on what it has; "" if all is well. `stored` is what it
    held when it was last seen and could be used; None before it was read.
    """

    def __init__(self, client: KubernetesClient, *, namespace: str, name: str, common_name: str) -> None:
        self.problem: Latest[str] = Latest("")
        self.stored: Latest[Stored | None] = Latest(None)
        self._client = client
        self._namespace = namespace
        self._name = name
        self._common_name = common_name
        self._where = f"Secret {namespace}/{name}"

    async def load_or_create(self, *, waiting: Callable[[str], None]) -> Trust:
        """Who signs and who is trusted, as the Secret says; made, if there is none, by whichever replica is first.

        As long as the API server does not answer this waits, and tells why: who is away comes back. Raises
        AuthoritySecretError where the Secret is there and cannot be used.
        """
        backoff, said = Backoff(most=2.0), ""
        while True:
            try:
                return await self._load_or_create()
            except KubernetesError as error:
                reason = f"{self._where} cannot be read: {error.needing(self._permission)}"
                if reason != said:
                    logger("pki").warning("waiting for the certificate authority", error=reason)
                    waiting(reason)
                said = reason
                await asyncio.sleep(backoff.pause(at_least=error.retry_after))

    @property
    def _permission(self) -> str:
        return f"get, list, watch and create secrets in namespace {self._namespace}"

    async def _load_or_create(self) -> Trust:
        try:
            content = content_of(await self._client.read(SECRETS, self._name, namespace=self._namespace))
        except NotFoundError:
            authority = Authority.create(self._common_name)
            content = Content(authority.root_pem, authority.key_pem)
            try:
                await self._store(content)
            except ConflictError:
                # Another replica was quicker: its authority is the mesh's.
                return await self._load_or_create()
            logger("pki").info("a certificate authority is made", secret=self._where)
        try:
            stored = Stored.of(content)
        except InvalidAuthorityError as error:
            raise AuthoritySecretError(
                f"{self._where}: {error}; nothing was overwritten: put the right pair {ROOT_KEY} and {PRIVATE_KEY} "
                "back, or delete the Secret for a new authority (proxies then need a restart)"
            ) from error
        self.stored.set(stored)
        return trust_of(stored.authorities)

    async def _store(self, content: Content) -> None:
        """Create the Secret. Raises ConflictError where there is one: it is never overwritten."""
        metadata: dict[str, Any] = {"name": self._name, "labels": {"app.kubernetes.io/managed-by": "osm-probes"}}
        if content.signs_since:
            metadata["annotations"] = {CA_SIGNS_SINCE: content.signs_since}
        body = {"metadata": metadata, "type": "Opaque", "data": content.data}
        await self._client.create(SECRETS, body, namespace=self._namespace)

    async def change(self, stored: Stored, change: Object) -> None:
        """Change the Secret, if it is still the one that was seen. Raises KubernetesError; ConflictError if not."""
        metadata: dict[str, Any] = {**change.get("metadata", {}), "resourceVersion": stored.content.version}
        await self._client.patch(SECRETS, self._name, {**change, "metadata": metadata}, namespace=self._namespace)

    async def keep(self, trust: Latest[Trust]) -> None:
        """See to it, without an end, that the Secret is there, and that `trust` is what it says.

        It is written back where it was deleted: proxies trust no other authority. A pair that somebody put in is
        trusted from now on, and signs when the Secret says so. What cannot be used is told and left alone.
        """
        changes: Latest[int] = Latest(0)

        def note() -> None:
            changes.set(changes.value + 1)

        wanted = ListOptions(SECRETS, namespace=self._namespace, fields=f"metadata.name={self._name}")
        informer: Informer[Content] = Informer(self._client, wanted, decode=content_of, notify=note)
        async with background_tasks(watch=informer.run()):
            async for _ in changes.values():
                if informer.synced:
                    await self._follow(informer.objects.get((self._namespace, self._name)), trust)

    async def _follow(self, found: Content | None, trust: Latest[Trust]) -> None:
        problem = ""
        if found is None:
            problem = await self._write_back()
        else:
            try:
                self.stored.set(stored := Stored.of(found))
                trust.set(trust_of(stored.authorities, now=trust.value))
            except InvalidAuthorityError as error:
                problem = f"{self._where}: {error}; the authority in use stays until a restart"
        if problem and problem != self.problem.value:
            logger("pki").error("the certificate authority's Secret is not as it should be", error=problem)
        self.problem.set(problem)

    async def _write_back(self) -> str:
        """Why it could not be; "" if it is back, or another replica was quicker."""
        stored = self.stored.value
        if stored is None:
            raise RuntimeError("keep() before load_or_create()")
        backoff = Backoff()
        while True:
            try:
                await self._store(stored.content)
                logger("pki").warning(
                    "the certificate authority's Secret was deleted: written back", secret=self._where
                )
            except ConflictError:
                return ""
            except ForbiddenError as error:
                return f"{self._where} was deleted and cannot be written back: {error}"
            except KubernetesError:
                await asyncio.sleep(backoff.pause())
            else:
                return ""
