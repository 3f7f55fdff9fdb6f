"""Mesh, listeners or certificates changed -> settle -> build -> cache."""

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, Protocol

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.settle import settle
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.pki.trust import Trust
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import Snapshot
from osm_probes.xds.secrets import Secrets

_QUIET: Final = 0.03
_SETTLED_AT_LAST: Final = 0.5
_TRIED_AT_MOST: Final = 100


class Builder(Protocol):
    """Mesh + identity -> snapshot. Called from a thread, one call at a time."""

    def build(self, mesh: Mesh, identity: Identity, *, secrets: Secrets) -> Snapshot:
        """What the proxies of `identity` are told."""


class Publisher:
    """Keeps the cache true: for each identity that somebody listens to, the newest snapshot that can be built.

    `failing` has the identities whose newest snapshot cannot be built, with the reasons. `problem` says why nobody can
    be served: none can be built; "" as long as one can. With no listeners one of the mesh's identities is tried, so
    that it is known before the first proxy comes.

    An identity whose snapshot cannot be built keeps its last one; the others go on. `certificates` must hold only
    the certificates of identities, by principal: those of identities that are gone are forgotten.
    """

    def __init__(
        self,
        mesh: Latest[Mesh | None],
        cache: SnapshotCache,
        *,
        builder: Builder,
        certificates: CertificateStore,
        trust_domain: str,
        trust: Latest[Trust],
    ) -> None:
        self._mesh = mesh
        self._cache = cache
        self._builder = builder
        self._certificates = certificates
        self._trust_domain = trust_domain
        self._trust = trust
        self.failing: Latest[Mapping[Hashable, str]] = Latest({})
        self.problem: Latest[str] = Latest("")
        self._outcomes: dict[Hashable, str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Publish, without an end."""
        async with background_tasks(
            wanted=self._follow_listeners(),
            renewed=self._rebuild_after(self._certificates.renewed),
            trusted=self._rebuild_after(self._trust),
        ):
            await self._follow_mesh()

    async def _follow_mesh(self) -> None:
        seen = self._mesh.version
        while True:
            seen = await settle(self._mesh, seen, quiet=_QUIET, at_most=_SETTLED_AT_LAST)
            await self._build(self._cache.wanted.value or self._sample())

    async def _rebuild_after(self, latest: Latest[Any]) -> None:
        seen = latest.version
        while True:
            seen = await latest.after(seen)
            await self._build(self._cache.wanted.value)

    async def _follow_listeners(self) -> None:
        async for wanted in self._cache.wanted.values():
            for gone in self._outcomes.keys() - wanted:
                del self._outcomes[gone]
            # What failed is not tried again before something else changes.
            await self._build((self._cache.missing - self._failures().keys()) if wanted else self._sample())
            self._forget_certificates()

    def _sample(self) -> frozenset[Identity]:
        mesh = self._mesh.value
        return frozenset([min(mesh.identities)] if mesh is not None and mesh.identities else ())

    async def _build(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            # Not one lock for all: who comes new waits for one build at most.
            async with self._one_at_a_time:
                if isinstance(key, Identity) and self._mesh.value is not None:
                    await self._build_one(self._mesh.value, key)
        await self._try_others()
        self._report()

    def _failures(self) -> dict[Hashable, str]:
        return {key: reason for key, reason in self._outcomes.items() if reason}

    def _report(self) -> None:
        failing = self._failures()
        self.failing.set(failing)
        nobody = 0 < len(failing) == len(self._outcomes)
        self.problem.set(f"no configuration can be built: {next(iter(failing.values()))}" if nobody else "")

    async def _try_others(self) -> None:
        """Where all that were tried fail, look for one that can be built: only if there is none is nobody served."""
        mesh = self._mesh.value
        if mesh is None:
            return
        for identity in sorted(mesh.identities)[:_TRIED_AT_MOST]:
            if not all(self._outcomes.values()):
                return
            if identity not in self._outcomes:
                async with self._one_at_a_time:
                    await self._build_one(mesh, identity)

    async def _build_one(self, mesh: Mesh, identity: Identity) -> None:
        try:
            certificate = self._certificates.certificate(identity.principal(self._trust_domain))
            secrets = Secrets(certificate.chain_pem, certificate.key_pem, self._trust.value.roots_pem)
            # In a thread: a large build must not stall the streams.
            snapshot = await asyncio.to_thread(self._builder.build, mesh, identity, secrets=secrets)
        except Exception as error:
            self._fail(identity, f"{type(error).__name__}: {error}")
            return
        if self._outcomes.get(identity):
            logger("publisher").info("a snapshot can be built again", identity=str(identity))
        self._outcomes[identity] = ""
        self._cache.publish(identity, snapshot)

    def _fail(self, identity: Identity, reason: str) -> None:
        if self._outcomes.get(identity) != reason:
            logger("publisher").error("a snapshot cannot be built", identity=str(identity), error=reason)
        self._outcomes[identity] = reason

    def _forget_certificates(self) -> None:
        mesh, wanted = self._mesh.value, self._cache.wanted.value
        if mesh is None:
            return
        # Not only those of listeners: a proxy that comes back must find the certificate that it has.
        identities = mesh.identities.union(key for key in wanted if isinstance(key, Identity))
        self._certificates.keep_only(identity.principal(self._trust_domain) for identity in identities)
