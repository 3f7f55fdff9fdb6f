import asyncio
from datetime import UTC, datetime, timedelta

from osm_probes.foundation.tasks import background_tasks
from osm_probes.pki.authority import Authority, InvalidAuthorityError
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore
from tests.log_capture import capture_logs

_NAME = "bookstore.bookstore.cluster.local"


class StoreFixture:
    """A store with an adjustable clock and a CA that can be made to fail."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.broken = False
        self.authority = Authority.create("osm-ca", now=lambda: self.now)
        self.store = CertificateStore(self.issue, validity=timedelta(hours=3), now=lambda: self.now, longest_sleep=0.02)

    def issue(self, name: str, validity: timedelta) -> Certificate:
        if self.broken:
            raise InvalidAuthorityError("out of order")
        return self.authority.issue(name, validity=validity, now=lambda: self.now)

    async def renew_due(self) -> None:
        """Run `renew` until it has renewed what is due now."""
        async with background_tasks(renew=self.store.renew()):
            await asyncio.sleep(0)


async def test_a_name_has_one_certificate() -> None:
    store = StoreFixture().store
    assert store.certificate(_NAME) is store.certificate(_NAME)


async def test_a_certificate_is_renewed_after_two_thirds_of_its_validity_and_not_before() -> None:
    fixture = StoreFixture()
    first = fixture.store.certificate(_NAME)
    fixture.now += timedelta(minutes=119)
    await fixture.renew_due()
    assert fixture.store.certificate(_NAME) is first
    assert fixture.store.renewed.value == 0
    fixture.now += timedelta(minutes=1)
    await fixture.renew_due()
    assert fixture.store.certificate(_NAME).not_after == fixture.now + timedelta(hours=3)
    assert fixture.store.renewed.value == 1


async def test_a_failed_renewal_keeps_the_old_certificate_and_is_logged() -> None:
    fixture = StoreFixture()
    first = fixture.store.certificate(_NAME)
    fixture.now, fixture.broken = fixture.now + timedelta(hours=2), True
    with capture_logs() as logs:
        await fixture.renew_due()
    assert fixture.store.certificate(_NAME) is first
    assert [entry["event"] for entry in logs] == ["a certificate cannot be renewed"]
    fixture.broken = False
    await fixture.renew_due()
    assert fixture.store.certificate(_NAME) is not first


async def test_a_changed_validity_replaces_the_certificates() -> None:
    fixture = StoreFixture()
    fixture.store.certificate(_NAME)
    fixture.store.change_validity(timedelta(minutes=10))
    await fixture.renew_due()
    assert fixture.store.certificate(_NAME).not_after == fixture.now + timedelta(minutes=10)
    assert fixture.store.renewed.value == 1


async def test_the_certificates_of_other_names_are_dropped() -> None:
    store = StoreFixture().store
    first, other = store.certificate(_NAME), store.certificate("other")
    store.keep_only(["other"])
    assert store.certificate(_NAME) is not first
    assert store.certificate("other") is other


async def test_a_clock_that_jumps_forward_makes_certificates_due_without_any_other_change() -> None:
    fixture = StoreFixture()
    first = fixture.store.certificate(_NAME)
    async with asyncio.timeout(10), background_tasks(renew=fixture.store.renew()):
        await asyncio.sleep(0)
        fixture.now += timedelta(hours=25)
        await fixture.store.renewed.after(0)
    assert fixture.store.certificate(_NAME) is not first
