"""Mesh, subscriptions or certificates changed -> wait until changes settle -> build snapshots -> cache.

One task builds one snapshot at a time: first those that subscribers wait for, in the order of their arrival, and then
those that are outdated. The canary waits in the same order, so it is served when a new proxy would be served.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, Protocol

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.foundation.settle import settle
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.source import MeshSource, Step
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.pki.trust import Trust
from osm_probes.snapshot import canary_resource
from osm_probes.snapshot.cache import CANARY, SnapshotCache
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
    """Keeps the newest snapshot of every subscribed identity in the cache, and the canary's.

    `failing`: the identities whose newest snapshot cannot be built, with the reasons. They keep their last snapshot,
    and the other identities are not affected. `problem`: why no identity's snapshot can be built; false as long as
    one can. Without subscriptions one identity of the mesh is built as a sample, so that a problem is known before the
    first proxy connects. The canary gets a part of the snapshot that was built last, and never has one built.

    It takes over the changes in the source's `updates` that are READ. Then the keys are the identities to be built.

    `certificates` must contain only certificates of identities, named by principal: the certificates of identities
    that are no longer in the mesh are dropped.
    """

    def __init__(
        self,
        source: MeshSource,
        cache: SnapshotCache,
        *,
        builder: Builder,
        certificates: CertificateStore,
        trust_domain: str,
        trust: Latest[Trust],
    ) -> None:
        self._mesh = source.mesh
        self._updates = source.updates
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
        self._outdated: dict[Identity, None] = {}
        self._last_built: tuple[Identity, Snapshot] | None = None
        # Its own thread, because a large build would block the event loop, and others may fill the default executor.
        self._thread = ThreadPoolExecutor(1, "publisher")
        self._has_run = False

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
        self._updates.remove(Step.BUILDING)  # by an earlier run, which has ended
        async with background_tasks(
            mesh=self._follow_mesh(quiet=quiet, settle_within=settle_within),
            subscribed=self._follow_subscriptions(),
            renewed=self._rebuild_after(self._certificates.renewed),
            trusted=self._rebuild_after(self._trust),
        ):
            await self._build_wanted()

    async def _follow_mesh(self, *, quiet: float, settle_within: float) -> None:
        seen = self._mesh.version
        if self._has_run:
            self._outdate()  # what changed since `run` has ended is built, too
        else:
            self._updates.remove(Step.READ)  # nothing is built yet that could be outdated
        self._has_run = True
        while True:
            seen = await settle(self._mesh, seen, quiet=quiet, at_most=settle_within)
            self._forget_others()
            self._outdate()

    async def _rebuild_after(self, latest: Latest[Any]) -> None:
        seen = latest.version
        while True:
            seen = await latest.after(seen)
            self._updates.add(Step.READ)
            self._outdate()

    async def _follow_subscriptions(self) -> None:
        async for _ in self._cache.subscribed.values():
            self._forget_others()
            self._cache.wanted.notify()

    def _forget_others(self) -> None:
        """Forget the results of identities without subscribers, except the last one that was built, the sample."""
        mesh = self._mesh.value
        if self._last_built and mesh is not None and self._last_built[0] not in mesh.identities:
            self._last_built = None
        for key in self._results.keys() - self._wanted():
            del self._results[key]
            self._logs.pop(key, None)
        self._drop_certificates()
        self._report()

    def _wanted(self) -> frozenset[Hashable]:
        """The identities whose snapshots are kept up to date."""
        sample = frozenset([self._last_built[0]] if self._last_built else ())
        return self._cache.subscribed.value or sample

    def _outdate(self) -> None:
        """The snapshots of all wanted identities are to be built again, because something was READ."""
        identities = [key for key in self._wanted() if isinstance(key, Identity)]
        self._updates.move(Step.READ, identities)
        self._outdated.update(dict.fromkeys(identities))
        self._cache.wanted.notify()

    async def _build_wanted(self) -> None:
        while True:
            seen = self._cache.wanted.version
            key = self._next()
            if key == CANARY:
                await self._publish_canary()
            elif isinstance(key, Identity) and self._mesh.value is not None:
                await self._build(self._mesh.value, key)
            else:
                await self._cache.wanted.after(seen)

    def _next(self) -> Hashable | None:
        """What to build next: what somebody waits for, then what is outdated, then a sample; None if nothing."""
        known = self._mesh.value is not None
        for key in self._cache.waiting:
            if key == CANARY or (known and isinstance(key, Identity)):
                return key
        if not known:
            return None
        while self._outdated:
            identity = next(iter(self._outdated))
            if identity in self._wanted():
                return identity
            del self._outdated[identity]
            self._updates.remove(identity)
        return self._next_sample()

    def _next_sample(self) -> Identity | None:
        """An identity that was not tried yet, if no other can be built: there is a problem only if none can."""
        mesh = self._mesh.value
        if mesh is None or not all(self._results.values()):
            return None
        tried = sorted(mesh.identities)[:_MAX_TRIED]
        return next((identity for identity in tried if identity not in self._results), None)

    async def _build(self, mesh: Mesh, identity: Identity) -> None:
        # A change that comes while it is built outdates it again.
        self._outdated.pop(identity, None)
        self._updates.move(identity, [Step.BUILDING])
        try:
            certificate = self._certificates.certificate(identity.principal(self._trust_domain))
            secrets = Secrets(certificate.chain_pem, certificate.key_pem, self._trust.value.roots_pem)
            snapshot = await self._in_thread(lambda: self._builder.build(mesh, identity, secrets=secrets))
        except Exception as error:
            self._record(identity, f"{type(error).__name__}: {error}")
            self._cache.give_up(identity)
        else:
            self._record(identity, "")
            self._last_built = identity, snapshot
            self._cache.publish(identity, snapshot)
        self._updates.remove(Step.BUILDING)
        self._report()

    async def _publish_canary(self) -> None:
        real = self._last_built[1] if self._last_built else None
        # In the thread that builds, because a new proxy depends on it.
        snapshot = await self._in_thread(lambda: canary_resource.snapshot(real))
        self._cache.publish(CANARY, snapshot)

    async def _in_thread(self, work: Callable[[], Snapshot]) -> Snapshot:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _report(self) -> None:
        failing = {key: error for key, error in self._results.items() if error}
        self.failing.set(failing)
        all_fail = 0 < len(failing) == len(self._results) and self._next_sample() is None
        summary = "no configuration can be built"
        self.problem.set(Problem(summary, f"{summary}: {next(iter(failing.values()))}") if all_fail else Problem())

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
