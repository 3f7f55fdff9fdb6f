import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from unittest.mock import ANY

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.backlog import Backlog
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.source import Step
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.pki.trust import Trust
from osm_probes.publisher import Publisher
from osm_probes.snapshot import canary_resource
from osm_probes.snapshot.cache import CANARY, SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, Resource, Snapshot
from osm_probes.xds.secrets import Secrets
from tests.builders import identity, mesh, service
from tests.log_capture import capture_logs

AUTHORITY = Authority.create("test-ca")
STORE, BUYER = identity("bookstore"), identity("bookbuyer")


class PublisherFixture:
    """A publisher whose builder fails, or puts the number of services and the certificate into the snapshot."""

    def __init__(self, now: Mesh | None) -> None:
        self.mesh: Latest[Mesh | None] = Latest(now)
        self.problem: Latest[Problem] = Latest(Problem())
        self.updates = Backlog()
        self.cache = SnapshotCache()
        self.trust = Latest(Trust.of(AUTHORITY))
        self.certificates = CertificateStore(_issue, validity=timedelta(days=1))
        self.built: list[tuple[Identity, int]] = []
        self.broken: set[Identity] = set()
        self.started: Identity | None = None
        self.may_build = threading.Event()
        self.may_build.set()
        self.publisher = Publisher(
            self,
            self.cache,
            builder=self,
            certificates=self.certificates,
            trust_domain="cluster.local",
            trust=self.trust,
        )

    def build(self, mesh: Mesh, identity: Identity, *, secrets: Secrets) -> Snapshot:
        self.started = identity
        assert self.may_build.wait(10)
        self.built.append((identity, len(mesh.services)))
        if identity in self.broken:
            raise ValueError("duplicate name")
        return Snapshot.of([Resource.of(str(len(mesh.services)), CLUSTER, secrets.chain_pem)])


def _issue(name: str, validity: timedelta) -> Certificate:
    return AUTHORITY.issue(name, validity=validity)


@asynccontextmanager
async def publishing(
    now: Mesh | None = None, *, quiet: float = 0.03, settle_within: float = 0.5
) -> AsyncGenerator[PublisherFixture, None]:
    """A running publisher of this mesh."""
    fixture = PublisherFixture(now)
    work = fixture.publisher.run(quiet=quiet, settle_within=settle_within)
    async with background_tasks(publisher=work, renew=fixture.certificates.renew()), asyncio.timeout(10):
        yield fixture


async def wait_for_services(snapshot: Latest[Snapshot | None], number: int) -> Snapshot:
    """Wait for the snapshot with so many services."""
    async for now in snapshot.values():
        if now is not None and str(number) in now.sets[CLUSTER].by_name:
            return now
    raise AssertionError


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition is true."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)


async def test_a_new_subscriber_gets_its_snapshot_without_waiting_for_the_mesh_to_settle() -> None:
    async with publishing(mesh(service()), quiet=60, settle_within=60) as fixture, asyncio.timeout(5):
        fixture.mesh.set(mesh(service(), service("bookbuyer")))
        with fixture.cache.subscribe(STORE) as snapshot:
            await wait_for_services(snapshot, 2)


async def test_only_subscribed_identities_are_built() -> None:
    async with publishing(mesh(service(), service("bookbuyer"))) as fixture:
        with fixture.cache.subscribe(STORE) as snapshot:
            await wait_for_services(snapshot, 2)
        assert fixture.built == [(STORE, 2)]


async def test_before_the_mesh_is_known_nothing_is_built() -> None:
    async with publishing() as fixture:
        with fixture.cache.subscribe(STORE) as snapshot:
            await asyncio.sleep(0)
            assert snapshot.value is None
            fixture.mesh.set(mesh(service()))
            await wait_for_services(snapshot, 1)
        assert fixture.built == [(STORE, 1)]


async def test_a_burst_of_changes_causes_one_build() -> None:
    async with publishing(mesh(service())) as fixture:
        with fixture.cache.subscribe(STORE) as snapshot:
            await wait_for_services(snapshot, 1)
            for number in range(2, 6):
                fixture.mesh.set(mesh(*(service(f"s{index}") for index in range(number))))
                await asyncio.sleep(0)
            await wait_for_services(snapshot, 5)
        assert fixture.built == [(STORE, 1), (STORE, 5)]


async def test_an_identity_that_is_subscribed_again_at_once_is_built_again() -> None:
    async with publishing(mesh(service())) as fixture:
        with fixture.cache.subscribe(STORE) as snapshot:
            await wait_for_services(snapshot, 1)
        with fixture.cache.subscribe(STORE) as snapshot:
            await wait_for_services(snapshot, 1)


async def test_an_identity_whose_build_fails_keeps_its_last_snapshot_and_others_are_not_affected() -> None:
    async with publishing(mesh(service())) as fixture:
        with fixture.cache.subscribe(STORE) as store, fixture.cache.subscribe(BUYER) as buyer:
            await wait_for_services(store, 1)
            fixture.broken = {STORE}
            fixture.mesh.set(mesh(service(), service("bookbuyer")))
            await wait_for_services(buyer, 2)
            fixture.mesh.set(mesh(service()))
            await wait_for_services(buyer, 1)
            await until(lambda: fixture.publisher.failing.value == {STORE: "ValueError: duplicate name"})
            warning = fixture.publisher.warning
            assert warning.summary == "identities whose last good configuration is served: 1"
            assert warning.detail == f"{warning.summary}: {STORE}: ValueError: duplicate name"
            assert "1" in (store.value or Snapshot()).sets[CLUSTER].by_name
            fixture.broken = set()
            fixture.mesh.set(mesh(service(), service("bookbuyer")))
            await wait_for_services(store, 2)
            await until(lambda: not fixture.publisher.failing.value)


async def test_a_failed_build_is_not_retried_before_something_changes() -> None:
    async with publishing(mesh(service())) as fixture:
        fixture.broken = {STORE}
        with fixture.cache.subscribe(STORE):
            await until(lambda: bool(fixture.publisher.failing.value))
            with fixture.cache.subscribe(BUYER) as buyer:
                await wait_for_services(buyer, 1)
        assert fixture.built == [(STORE, 1), (BUYER, 1)]


async def test_a_failure_is_dropped_with_its_last_subscriber() -> None:
    async with publishing(mesh(service())) as fixture:
        fixture.broken = {BUYER}
        with fixture.cache.subscribe(BUYER):
            await until(lambda: bool(fixture.publisher.failing.value))
        await until(lambda: not fixture.publisher.failing.value)


async def test_without_subscribers_it_is_a_problem_if_no_identity_can_be_built() -> None:
    async with publishing() as fixture:
        fixture.broken = {STORE}
        fixture.mesh.set(mesh(service()))
        await until(lambda: bool(fixture.publisher.problem.value))
        assert fixture.publisher.problem.value.summary == "no configuration can be built"
        assert str(fixture.publisher.problem.value) == "no configuration can be built: ValueError: duplicate name"
        fixture.broken = set()
        fixture.mesh.set(mesh(service(), service("bookbuyer")))
        await until(lambda: not fixture.publisher.problem.value)


async def test_there_is_no_problem_while_one_identity_can_be_built() -> None:
    async with publishing(mesh(service(), service("bookbuyer"))) as fixture:
        fixture.broken = {STORE}
        with fixture.cache.subscribe(STORE), fixture.cache.subscribe(BUYER) as buyer:
            await wait_for_services(buyer, 2)
            await until(lambda: bool(fixture.publisher.failing.value))
            assert not fixture.publisher.problem.value


async def test_a_renewed_certificate_is_published() -> None:
    async with publishing(mesh(service())) as fixture:
        with fixture.cache.subscribe(STORE) as snapshot:
            first = await wait_for_services(snapshot, 1)
            fixture.certificates.replace_all()
            await snapshot.after(snapshot.version)
            assert snapshot.value != first


async def test_a_failed_build_is_logged_when_it_begins_changes_and_ends() -> None:
    async with publishing(mesh(service())) as fixture:
        with fixture.cache.subscribe(STORE) as snapshot, capture_logs() as logs:
            await wait_for_services(snapshot, 1)
            fixture.broken = {STORE}
            for number in (2, 3):
                fixture.mesh.set(mesh(*(service(f"s{index}") for index in range(number))))
                await until(partial(fixture.built.__contains__, (STORE, number)))
            await until(lambda: bool(fixture.publisher.failing.value))
            fixture.broken = set()
            fixture.mesh.set(mesh(service()))
            await until(lambda: not fixture.publisher.failing.value)
    assert [(entry["event"], entry["identity"]) for entry in logs] == [
        ("a snapshot cannot be built", str(STORE)),
        ("a snapshot can be built again", str(STORE)),
    ]


async def test_a_reconnecting_proxy_gets_the_same_certificate_unless_its_identity_left_the_mesh() -> None:
    async with publishing(mesh(service())) as fixture:
        with fixture.cache.subscribe(STORE) as snapshot, fixture.cache.subscribe(BUYER) as other:
            first = await wait_for_services(snapshot, 1)
            await wait_for_services(other, 1)
        name = BUYER.principal("cluster.local")
        dropped = fixture.certificates.certificate(name)
        await until(lambda: fixture.certificates.certificate(name) is not dropped)
        with fixture.cache.subscribe(STORE) as snapshot:
            assert await wait_for_services(snapshot, 1) == first


async def test_what_proxies_wait_for_is_built_before_what_is_outdated_and_in_the_order_of_arrival() -> None:
    async with publishing(mesh(service())) as fixture, asyncio.timeout(10):
        old = [identity(f"old{number}") for number in range(3)]
        with ExitStack() as subscriptions:
            snapshots = [subscriptions.enter_context(fixture.cache.subscribe(key)) for key in old]
            for snapshot in snapshots:
                await wait_for_services(snapshot, 1)
            fixture.may_build.clear()
            fixture.built.clear()
            fixture.started = None
            fixture.mesh.set(mesh(service(), service("bookbuyer")))
            await until(lambda: fixture.started is not None)
            new = [fixture.cache.subscribe(key) for key in (BUYER, STORE)]
            latest = [subscriptions.enter_context(subscription) for subscription in new]
            fixture.may_build.set()
            for snapshot in (*latest, *snapshots):
                await wait_for_services(snapshot, 2)
            built = [key for key, _ in fixture.built]
            assert (len(built), built[1:3]) == (5, [BUYER, STORE])


async def test_the_canary_gets_a_part_of_the_newest_real_snapshot_after_those_that_wait_already() -> None:
    async with publishing(mesh(service())) as fixture:
        fixture.may_build.clear()
        with fixture.cache.subscribe(STORE) as snapshot:
            await until(lambda: STORE in fixture.cache.waiting)
            with fixture.cache.subscribe(CANARY) as canary:
                await asyncio.sleep(0.05)
                assert canary.value is None, "a new proxy would wait as well"
                fixture.may_build.set()
                await wait_for_services(snapshot, 1)
                now = await wait_for_services(canary, 1)
                assert set(now.sets[CLUSTER].by_name) == {"1", canary_resource.NAME}
        assert fixture.built == [(STORE, 1)], "the canary has nothing built"


async def test_without_proxies_the_canary_gets_a_part_of_the_sample_which_is_kept_up_to_date() -> None:
    async with publishing(mesh(service())) as fixture:
        await until(lambda: fixture.built == [(STORE, 1)])
        for number in (2, 3):
            fixture.mesh.set(mesh(*(service(f"s{index}") for index in range(number)), service()))
            await until(partial(fixture.built.__contains__, (STORE, number + 1)))
            await until(lambda: fixture.updates.oldest() is None)
            with fixture.cache.subscribe(CANARY) as canary:
                await wait_for_services(canary, number + 1)
        assert [key for key, _ in fixture.built] == [STORE] * 3


async def test_a_mesh_without_identities_gives_the_canary_an_empty_configuration() -> None:
    for now in (None, mesh()):
        async with publishing(now) as fixture:
            with fixture.cache.subscribe(CANARY) as canary:
                await canary.after(0)
                assert canary.value == canary_resource.snapshot(None)


async def test_a_build_that_hangs_leaves_its_proxies_waiting_and_its_change_on_the_way() -> None:
    async with publishing(mesh(service())) as fixture:
        with fixture.cache.subscribe(STORE) as snapshot:
            await wait_for_services(snapshot, 1)
            await until(lambda: fixture.updates.oldest() is None)
            fixture.may_build.clear()
            fixture.updates.add(Step.READ)
            fixture.mesh.set(mesh(service(), service("bookbuyer")))
            await until(lambda: fixture.updates.oldest() == (Step.BUILDING, ANY))
            with fixture.cache.subscribe(BUYER), fixture.cache.subscribe(CANARY):
                await asyncio.sleep(0.05)
                assert list(fixture.cache.waiting) == [BUYER, CANARY]
                fixture.may_build.set()
                await until(lambda: not fixture.cache.waiting)
            await until(lambda: fixture.updates.oldest() is None)


async def test_an_identity_whose_build_fails_waits_no_longer_and_its_change_is_done() -> None:
    async with publishing(mesh(service())) as fixture:
        fixture.broken = {STORE}
        with fixture.cache.subscribe(STORE):
            await until(lambda: bool(fixture.publisher.failing.value))
            assert not fixture.cache.waiting
            fixture.updates.add(Step.READ)
            fixture.mesh.set(mesh(service(), service("bookbuyer")))
            await until(partial(fixture.built.__contains__, (STORE, 2)))
            await until(lambda: fixture.updates.oldest() is None)


async def test_builds_do_not_need_the_default_executor() -> None:
    async with publishing(mesh(service())) as fixture:
        full = threading.Event()
        loop = asyncio.get_running_loop()
        executor = ThreadPoolExecutor(1)
        loop.set_default_executor(executor)
        blocked = loop.run_in_executor(None, full.wait, 10)
        with fixture.cache.subscribe(STORE) as snapshot:
            await wait_for_services(snapshot, 1)
        full.set()
        await blocked
