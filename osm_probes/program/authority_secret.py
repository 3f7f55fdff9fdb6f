"""The mesh's certificate authority in a Secret of the cluster: made once, shared by all replicas, never overwritten."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import beside
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import AbsentError, ConflictError, ForbiddenError, KubernetesError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.pace import Pace
from osm_probes.kube.wanted import Wanted
from osm_probes.pki.authority import Authority, InvalidAuthorityError

ROOT_KEY: Final = "ca.crt"
PRIVATE_KEY: Final = "private.key"


class AuthoritySecretError(OsmError):
    """The Secret of the certificate authority cannot be used; nothing in it was changed."""


class _Secret(msgspec.Struct):
    data: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """What the Secret holds, as it stands there; a part that is missing is empty."""

    root_pem: bytes
    key_pem: bytes = field(repr=False)


class AuthoritySecret:
    """The Secret `name` with the pair `ca.crt` and `private.key`.

    `problem` says what is wrong with it while the program runs on the authority that it has; "" if all is well.
    """

    def __init__(self, client: KubernetesClient, *, namespace: str, name: str, common_name: str) -> None:
        self.problem: Latest[str] = Latest("")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._common_name = common_name
        self._where = f"Secret {namespace}/{name}"

    async def load_or_create(self, *, waiting: Callable[[str], None]) -> Authority:
        """The authority that the Secret holds; made, if there is none, by whichever replica is first.

        As long as the API server does not answer this waits, and tells why: who is away comes back. Raises
        AuthoritySecretError where the Secret is there and cannot be used.
        """
        pace, said = Pace(most=2.0), ""
        while True:
            try:
                return await self._load_or_create()
            except KubernetesError as error:
                reason = f"{self._where} cannot be read: {error.needing(self._permission)}"
                if reason != said:
                    logger("pki").warning("waiting for the certificate authority", error=reason)
                    waiting(reason)
                said = reason
                await asyncio.sleep(pace.pause(at_least=error.retry_after))

    @property
    def _permission(self) -> str:
        return f"get, list, watch and create secrets in namespace {self._namespace}"

    async def _load_or_create(self) -> Authority:
        try:
            content = await self._client.read(SECRETS, self._name, namespace=self._namespace)
        except AbsentError:
            authority = Authority.create(self._common_name)
            try:
                await self._store(authority)
            except ConflictError:
                # Another replica was quicker: its authority is the mesh's.
                return await self._load_or_create()
            logger("pki").info("a certificate authority is made", secret=self._where)
            return authority
        return self._authority(pair_of(content))

    async def _store(self, authority: Authority) -> None:
        """Create the Secret. Raises ConflictError where there is one: it is never overwritten."""
        content = {ROOT_KEY: authority.root_pem, PRIVATE_KEY: authority.key_pem}
        body = {
            "metadata": {"name": self._name, "labels": {"app.kubernetes.io/managed-by": "osm-probes"}},
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
        }
        await self._client.create(SECRETS, body, namespace=self._namespace)

    def _authority(self, pair: Pair) -> Authority:
        for key, value in ((ROOT_KEY, pair.root_pem), (PRIVATE_KEY, pair.key_pem)):
            if not value:
                raise AuthoritySecretError(
                    f"{self._where} has no {key}: put the pair {ROOT_KEY} and {PRIVATE_KEY} back, "
                    "or delete the Secret for a new authority (proxies then need a restart)"
                )
        try:
            return Authority.load(pair.root_pem, pair.key_pem)
        except InvalidAuthorityError as error:
            raise AuthoritySecretError(
                f"{self._where}: {error}; nothing was overwritten: put the right pair back, "
                "or delete the Secret for a new authority (proxies then need a restart)"
            ) from error

    async def keep(self, authority: Authority) -> None:
        """See to it, without an end, that the Secret holds the authority in use: proxies trust no other.

        Written back where it was deleted; where somebody put another pair in, that is told and left alone.
        """
        changes: Latest[int] = Latest(0)

        def note() -> None:
            changes.set(changes.value + 1)

        wanted = Wanted(SECRETS, namespace=self._namespace, fields=f"metadata.name={self._name}")
        informer: Informer[Pair] = Informer(self._client, wanted, decode=pair_of, notify=note)
        async with beside(watch=informer.run()):
            async for _ in changes.values():
                if informer.synced:
                    await self._compare(informer.objects.get((self._namespace, self._name)), authority)

    async def _compare(self, found: Pair | None, authority: Authority) -> None:
        problem = ""
        if found is None:
            problem = await self._write_back(authority)
        elif not _same(found, authority):
            problem = f"{self._where} holds another pair than the authority in use, which stays until a restart"
        if problem and problem != self.problem.value:
            logger("pki").error("the certificate authority's Secret is not as it should be", error=problem)
        self.problem.set(problem)

    async def _write_back(self, authority: Authority) -> str:
        """Why it could not be; "" if it is back, or another replica was quicker."""
        pace = Pace()
        while True:
            try:
                await self._store(authority)
                logger("pki").warning(
                    "the certificate authority's Secret was deleted: written back", secret=self._where
                )
            except ConflictError:
                return ""
            except ForbiddenError as error:
                return f"{self._where} was deleted and cannot be written back: {error}"
            except KubernetesError:
                await asyncio.sleep(pace.pause())
            else:
                return ""


def pair_of(content: bytes) -> Pair:
    """A Secret's JSON -> what it holds. Raises AuthoritySecretError."""
    try:
        data = msgspec.json.decode(content, type=_Secret).data or {}
        root, key = (base64.b64decode(data.get(name, ""), validate=True) for name in (ROOT_KEY, PRIVATE_KEY))
    except (msgspec.DecodeError, binascii.Error) as error:
        raise AuthoritySecretError(f"the Secret of the certificate authority cannot be read: {error}") from error
    return Pair(root, key)


def _same(pair: Pair, authority: Authority) -> bool:
    try:
        return Authority.load(pair.root_pem, pair.key_pem).root_pem == authority.root_pem
    except InvalidAuthorityError:
        return False
