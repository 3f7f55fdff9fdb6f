"""Mesh, subscriptions or certificates changed -> wait until changes settle -> build snapshots -> cache."""

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from itertools import islice
from typing import Any, Final, Protocol

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog, Repeat
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
_SETTLE_WITHIN: Final = 0.5
_MAX_TRIED: Final = 100
_MAX_NAMED: Final = 20


class Builder(Protocol):
    """Mesh + identity -> snapshot. Called from a thread, one call at a time."""

    def build(self, mesh: Mesh, identity: Identity, *, secrets: Secrets) -> Snapshot:
        """The configuration of the proxies of `identity`."""


class Publisher:
    """Keeps the newest snapshot of every subscribed identity in the cache.

    `failing`: the identities whose newest snapshot cannot be built, with the reasons. They keep their last snapshot,
    and the other identities are not affected. `problem`: why no identity's snapshot can be built; false as long as
    one can. Without subscriptions one identity of the mesh is built as a sample, so that a problem is known before the
    first proxy connects.

    `certificates` must contain only certificates of identities, named by principal: the certificates of identities
    that are no longer in the mesh are dropped.
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
        self.problem: Latest[Problem] = Latest(Problem())
        # The result of each identity's last build: "" or the error.
        self._results: dict[Hashable, str] = {}
        self._logs: dict[Hashable, ProblemLog] = {}
        self._build_lock = asyncio.Lock()

    @property
    def warning(self) -> Problem:
        """The identities that are failing now: their number, and the first 20 with the reasons. The log has all."""
        failing = self.failing.value
        reasons = [f"{identity}: {reason}" for identity, reason in islice(failing.items(), _MAX_NAMED)]
        more = [f"and {len(failing) - len(reasons)} more"] if len(failing) > len(reasons) else []
        summary = f"identities whose last good configuration is served: {len(failing)}"
        return Problem(summary, f"{summary}: {'; '.join([*reasons, *more])}") if failing else Problem()

    async def run(self, *, quiet: float = _QUIET, settle_within: float = _SETTLE_WITHIN) -> None:
        """Publish until cancelled.

        quiet, settle_within: a change of the mesh is built after so many seconds without a further change, but at
        most `settle_within` seconds after the first one.
        """
        async with background_tasks(
            subscribed=self._follow_subscriptions(),
            renewed=self._rebuild_after(self._certificates.renewed),
            trusted=self._rebuild_after(self._trust),
        ):
            await self._follow_mesh(quiet=quiet, settle_within=settle_within)

    async def _follow_mesh(self, *, quiet: float, settle_within: float) -> None:
        seen = self._mesh.version
        while True:
            seen = await settle(self._mesh, seen, quiet=quiet, at_most=settle_within)
            await self._build(self._cache.subscribed.value or self._sample())

    async def _rebuild_after(self, latest: Latest[Any]) -> None:
        seen = latest.version
        while True:
            seen = await latest.after(seen)
            await self._build(self._cache.subscribed.value)

    async def _follow_subscriptions(self) -> None:
        async for subscribed in self._cache.subscribed.values():
            for key in self._results.keys() - subscribed:
                del self._results[key]
                self._logs.pop(key, None)
            # A failed build is not retried before something else changes.
            await self._build((self._cache.missing - self._failures().keys()) if subscribed else self._sample())
            self._drop_certificates()

    def _sample(self) -> frozenset[Identity]:
        mesh = self._mesh.value
        return frozenset([min(mesh.identities)] if mesh is not None and mesh.identities else ())

    async def _build(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            # The lock is held for one build only, so that a new subscriber waits for at most one build.
            async with self._build_lock:
                if isinstance(key, Identity) and self._mesh.value is not None:
                    await self._build_one(self._mesh.value, key)
        await self._try_others()
        self._report()

    def _failures(self) -> dict[Hashable, str]:
        return {key: error for key, error in self._results.items() if error}

    def _report(self) -> None:
        failing = self._failures()
        self.failing.set(failing)
        all_fail = 0 < len(failing) == len(self._results)
        summary = "no configuration can be built"
        self.problem.set(Problem(summary, f"{summary}: {next(iter(failing.values()))}") if all_fail else Problem())

    async def _try_others(self) -> None:
        """If all builds failed, try other identities: there is a problem only if none of them can be built."""
        mesh = self._mesh.value
        if mesh is None:
            return
        for identity in sorted(mesh.identities)[:_MAX_TRIED]:
            if not all(self._results.values()):
                return
            if identity not in self._results:
                async with self._build_lock:
                    await self._build_one(mesh, identity)

    async def _build_one(self, mesh: Mesh, identity: Identity) -> None:
        try:
            certificate = self._certificates.certificate(identity.principal(self._trust_domain))
            secrets = Secrets(certificate.chain_pem, certificate.key_pem, self._trust.value.roots_pem)
            # In a thread, because a large build would block the event loop.
            snapshot = await asyncio.to_thread(self._builder.build, mesh, identity, secrets=secrets)
        except Exception as error:
            self._record(identity, f"{type(error).__name__}: {error}")
            return
        self._record(identity, "")
        self._cache.publish(identity, snapshot)

    def _record(self, identity: Identity, error: str) -> None:
        self._results[identity] = error
        if identity not in self._logs:
            self._logs[identity] = ProblemLog(
                "publisher",
                began="a snapshot cannot be built",
                ended="a snapshot can be built again",
                level="error",
                repeat=Repeat.WHEN_CHANGED,
            )
        self._logs[identity].update(error, identity=str(identity))

    def _drop_certificates(self) -> None:
        mesh, subscribed = self._mesh.value, self._cache.subscribed.value
        if mesh is None:
            return
        # Identities without a subscription keep theirs: a proxy that reconnects must find the certificate that it has.
        identities = mesh.identities.union(key for key in subscribed if isinstance(key, Identity))
        self._certificates.keep_only(identity.principal(self._trust_domain) for identity in identities)
