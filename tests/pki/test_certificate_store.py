import asyncio
from datetime import UTC, datetime, timedelta

from structlog.testing import capture_logs

from osm_probes.pki.authority import Authority, InvalidAuthorityError
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore

_NAME = "bookstore.bookstore.cluster.local"


class ProbeEvaluator:
    """A wallet with a clock in hand and an authority that can be broken."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.broken = False
        self.authority = Authority.create("osm-ca", now=lambda: self.now)
        self.certificates = CertificateStore(self.issue, validity=timedelta(hours=3), now=lambda: self.now)

    def issue(self, name: str, validity: timedelta) -> Certificate:
        if self.broken:
            raise InvalidAuthorityError("out of order")
        return self.authority.issue(name, validity=validity, now=lambda: self.now)

    async def renewing(self) -> None:
        """Let the wallet look once."""
        task = asyncio.create_task(self.certificates.renew())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_name_has_one_certificate() -> None:
    certificates = ProbeEvaluator().certificates
    assert certificates.certificate(_NAME) is certificates.certificate(_NAME)


async def test_it_is_renewed_at_two_thirds_of_its_life_not_before() -> None:
    evaluator = ProbeEvaluator()
    first = evaluator.certificates.certificate(_NAME)
    evaluator.now += timedelta(minutes=119)
    await evaluator.renewing()
    assert evaluator.certificates.certificate(_NAME) is first
    assert evaluator.certificates.renewed.value == 0
    evaluator.now += timedelta(minutes=1)
    await evaluator.renewing()
    assert evaluator.certificates.certificate(_NAME).not_after == evaluator.now + timedelta(hours=3)
    assert evaluator.certificates.renewed.value == 1


async def test_a_renewal_that_fails_keeps_the_old_one_and_says_so() -> None:
    evaluator = ProbeEvaluator()
    first = evaluator.certificates.certificate(_NAME)
    evaluator.now, evaluator.broken = evaluator.now + timedelta(hours=2), True
    with capture_logs() as logs:
        await evaluator.renewing()
    assert evaluator.certificates.held[_NAME] is first
    assert [entry["event"] for entry in logs] == ["a certificate cannot be renewed"]
    evaluator.broken = False
    await evaluator.renewing()
    assert evaluator.certificates.held[_NAME] is not first


async def test_another_validity_holds_for_certificates_already_issued() -> None:
    evaluator = ProbeEvaluator()
    evaluator.certificates.certificate(_NAME)
    evaluator.certificates.change_validity(timedelta(minutes=10))
    await evaluator.renewing()
    assert evaluator.certificates.certificate(_NAME).not_after == evaluator.now + timedelta(minutes=10)
    assert evaluator.certificates.renewed.value == 1


async def test_what_nobody_uses_is_forgotten() -> None:
    certificates = ProbeEvaluator().certificates
    certificates.certificate(_NAME)
    certificates.keep_only([])
    assert not certificates.held
