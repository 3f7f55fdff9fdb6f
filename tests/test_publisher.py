import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from osm_probes import publisher
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.pki.trust import Trust
from osm_probes.publisher import Publisher
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Resource, Snapshot
from osm_probes.xds.secrets import Secrets
from tests.builders import identity, mesh, service

AUTHORITY = Authority.create("test-ca")
STORE, BUYER = identity("bookstore"), identity("bookbuyer")


class ProbeEvaluator:
    """A publisher at work; its builder says the number of services and the certificate, or breaks."""

    def __init__(self, now: Mesh | None) -> None:
        self.mesh: Latest[Mesh | None] = Latest(now)
        self.cache = SnapshotCache()
        self.trust = Latest(Trust.of(AUTHORITY))
        self.certificates = CertificateStore(_issue, validity=timedelta(days=1))
        self.built: list[tuple[Identity, int]] = []
        self.broken: set[Identity] = set()
        self.publisher = Publisher(
            self.mesh,
            self.cache,
            builder=self,
            certificates=self.certificates,
            trust_domain="cluster.local",
            trust=self.trust,
        )

    def build(self, mesh: Mesh, identity: Identity, *, secrets: Secrets) -> Snapshot:
        self.built.append((identity, len(mesh.services)))
        if identity in self.broken:
            raise ValueError("two of one name")
        return Snapshot.of([Resource.of(str(len(mesh.services)), CLUSTER, secrets.chain_pem)])


def _issue(name: str, validity: timedelta) -> Certificate:
    return AUTHORITY.issue(name, validity=validity)


@asynccontextmanager
async def at_work(now: Mesh | None = None) -> AsyncGenerator[ProbeEvaluator, None]:
    evaluator = ProbeEvaluator(now)
    async with background_tasks(publisher=evaluator.publisher.run()), asyncio.timeout(10):
        yield evaluator


async def services(snapshot: Latest[Snapshot | None], number: int) -> Snapshot:
    """Wait until the snapshot is that of so many services."""
    async for now in snapshot.values():
        if now is not None and str(number) in now.sets[CLUSTER].by_name:
            return now
    raise AssertionError


async def until(true: Callable[[], bool]) -> None:
    """Let the others run until it is true."""
    while not true():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0)


async def test_a_new_listener_gets_its_snapshot_without_waiting_for_the_mesh_to_settle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for bound in ("_QUIET", "_SETTLED_AT_LAST"):
        monkeypatch.setattr(publisher, bound, 60.0)
    async with at_work(mesh(service())) as evaluator, asyncio.timeout(5):
        evaluator.mesh.set(mesh(service(), service("bookbuyer")))
        with evaluator.cache.listen(STORE) as snapshot:
            await services(snapshot, 2)


async def test_only_wanted_identities_are_built() -> None:
    async with at_work(mesh(service(), service("bookbuyer"))) as evaluator:
        with evaluator.cache.listen(STORE) as snapshot:
            await services(snapshot, 2)
        assert evaluator.built == [(STORE, 2)]


async def test_before_the_mesh_is_known_nothing_is_built() -> None:
    async with at_work() as evaluator:
        with evaluator.cache.listen(STORE) as snapshot:
            await asyncio.sleep(0)
            assert snapshot.value is None
            evaluator.mesh.set(mesh(service()))
            await services(snapshot, 1)
        assert evaluator.built == [(STORE, 1)]


async def test_a_burst_of_changes_is_one_build() -> None:
    async with at_work(mesh(service())) as evaluator:
        with evaluator.cache.listen(STORE) as snapshot:
            await services(snapshot, 1)
            for number in range(2, 6):
                evaluator.mesh.set(mesh(*(service(f"s{index}") for index in range(number))))
                await asyncio.sleep(0)
            await services(snapshot, 5)
        assert evaluator.built == [(STORE, 1), (STORE, 5)]


async def test_a_listener_that_came_back_at_once_is_served_again() -> None:
    async with at_work(mesh(service())) as evaluator:
        with evaluator.cache.listen(STORE) as snapshot:
            await services(snapshot, 1)
        with evaluator.cache.listen(STORE) as snapshot:
            await services(snapshot, 1)


async def test_one_identity_that_cannot_be_built_keeps_its_last_snapshot_and_the_others_go_on() -> None:
    async with at_work(mesh(service())) as evaluator:
        with evaluator.cache.listen(STORE) as store, evaluator.cache.listen(BUYER) as buyer:
            await services(store, 1)
            evaluator.broken = {STORE}
            evaluator.mesh.set(mesh(service(), service("bookbuyer")))
            await services(buyer, 2)
            evaluator.mesh.set(mesh(service()))
            await services(buyer, 1)
            await until(lambda: evaluator.publisher.failing.value == {STORE: "ValueError: two of one name"})
            assert "1" in (store.value or Snapshot()).sets[CLUSTER].by_name
            evaluator.broken = set()
            evaluator.mesh.set(mesh(service(), service("bookbuyer")))
            await services(store, 2)
            await until(lambda: not evaluator.publisher.failing.value)


async def test_what_cannot_be_built_is_not_tried_again_before_something_changes() -> None:
    async with at_work(mesh(service())) as evaluator:
        evaluator.broken = {STORE}
        with evaluator.cache.listen(STORE):
            await until(lambda: bool(evaluator.publisher.failing.value))
            with evaluator.cache.listen(BUYER) as buyer:
                await services(buyer, 1)
        assert evaluator.built == [(STORE, 1), (BUYER, 1)]


async def test_a_failure_goes_with_its_last_listener() -> None:
    async with at_work(mesh(service())) as evaluator:
        evaluator.broken = {BUYER}
        with evaluator.cache.listen(BUYER):
            await until(lambda: bool(evaluator.publisher.failing.value))
        await until(lambda: not evaluator.publisher.failing.value)


async def test_that_nobody_can_be_built_is_known_without_a_listener() -> None:
    async with at_work() as evaluator:
        evaluator.broken = {STORE}
        evaluator.mesh.set(mesh(service()))
        await until(lambda: evaluator.publisher.problem.value != "")
        assert evaluator.publisher.problem.value == "no configuration can be built: ValueError: two of one name"
        evaluator.broken = set()
        evaluator.mesh.set(mesh(service(), service("bookbuyer")))
        await until(lambda: evaluator.publisher.problem.value == "")


async def test_as_long_as_one_identity_can_be_built_there_is_no_problem() -> None:
    async with at_work(mesh(service(), service("bookbuyer"))) as evaluator:
        evaluator.broken = {STORE}
        with evaluator.cache.listen(STORE), evaluator.cache.listen(BUYER) as buyer:
            await services(buyer, 2)
            await until(lambda: bool(evaluator.publisher.failing.value))
            assert evaluator.publisher.problem.value == ""


async def test_a_renewed_certificate_is_published() -> None:
    async with at_work(mesh(service())) as evaluator:
        with evaluator.cache.listen(STORE) as snapshot:
            first = await services(snapshot, 1)
            evaluator.certificates._held.clear()
            evaluator.certificates.renewed.set(1)
            await snapshot.after(snapshot.version)
            assert snapshot.value != first


async def test_a_proxy_that_comes_back_finds_its_certificate_and_one_that_left_the_mesh_does_not() -> None:
    async with at_work(mesh(service())) as evaluator:
        with evaluator.cache.listen(STORE) as snapshot, evaluator.cache.listen(BUYER) as other:
            first = await services(snapshot, 1)
            await services(other, 1)
        await until(lambda: BUYER.principal("cluster.local") not in evaluator.certificates.held)
        with evaluator.cache.listen(STORE) as snapshot:
            assert await services(snapshot, 1) == first
