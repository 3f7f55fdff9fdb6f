import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from osm_probes.pki.authority import Authority, InvalidAuthorityError, _pem, certificate_names

_HOUR = timedelta(hours=1)
_AUTHORITY = Authority.create("osm-ca", now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


def test_a_loaded_authority_is_the_stored_one() -> None:
    first = Authority.create("osm-ca")
    second = Authority.load(first.root_pem, first.key_pem)
    leaf = second.issue("bookstore.bookstore.cluster.local", validity=_HOUR)
    context = ssl.create_default_context(cadata=first.root_pem.decode())
    assert context.get_ca_certs()
    assert certificate_names(leaf.chain_pem) == ("bookstore.bookstore.cluster.local",)


def test_a_key_of_another_root_is_refused() -> None:
    with pytest.raises(InvalidAuthorityError, match="does not belong"):
        Authority.load(Authority.create("one").root_pem, Authority.create("two").key_pem)


def test_a_leaf_certificate_is_refused_as_a_root() -> None:
    leaf = Authority.create("osm-ca").issue("leaf.ns.cluster.local", validity=_HOUR)
    with pytest.raises(InvalidAuthorityError, match="not allowed to sign"):
        Authority.load(leaf.chain_pem, leaf.key_pem)


def test_a_root_on_another_curve_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "osm-ca")])
    now = datetime.now(UTC)
    root = x509.CertificateBuilder(name, name, key.public_key(), 1, now - _HOUR, now + _HOUR)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root_pem = root.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidAuthorityError, match="key is on curve secp384r1: only P-256"):
        Authority.load(root_pem, _pem(key))


@pytest.mark.parametrize(("root", "key"), [(b"", b""), (b"garbage", b"garbage")])
def test_an_unreadable_root_or_key_is_refused(root: bytes, key: bytes) -> None:
    with pytest.raises(InvalidAuthorityError, match="cannot be read"):
        Authority.load(root, key)


def test_an_expired_root_is_refused_with_its_date() -> None:
    old = Authority.create("osm-ca", now=lambda: datetime(2001, 2, 3, tzinfo=UTC))
    with pytest.raises(InvalidAuthorityError, match="expired at 2011-02-01"):
        Authority.load(old.root_pem, old.key_pem)


def test_a_leaf_never_outlives_its_root() -> None:
    authority = Authority.create("osm-ca")
    leaf = authority.issue("x.y.cluster.local", validity=timedelta(days=36500))
    assert leaf.not_after <= authority.not_after


def test_an_expired_root_issues_nothing() -> None:
    authority = Authority.create("osm-ca")
    with pytest.raises(InvalidAuthorityError, match="nothing can be issued"):
        authority.issue("x.y.cluster.local", validity=_HOUR, now=lambda: authority.not_after)


def test_a_name_too_long_for_a_common_name_is_a_dns_name() -> None:
    name = "6f2f2c3e-0d4b-4b3c-9d8f-0a1b2c3d4e5f.sidecar.a-long-service-account.a-long-namespace.cluster.local"
    leaf = Authority.create("osm-ca").issue(name, validity=_HOUR, dns_names=["other.name"])
    assert certificate_names(leaf.chain_pem) == (name, "other.name")


def test_a_leaf_is_backdated_for_peers_with_slow_clocks_and_renewed_after_two_thirds() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    authority = Authority.create("osm-ca", now=lambda: now)
    leaf = authority.issue("x.y.cluster.local", validity=3 * _HOUR, now=lambda: now)
    assert leaf.not_before == now - 2 * _HOUR
    assert leaf.not_after == now + 3 * _HOUR
    assert leaf.renew_at == now + 2 * _HOUR


def test_keys_never_show_in_a_repr() -> None:
    authority = Authority.create("osm-ca")
    leaf = authority.issue("x.y.cluster.local", validity=_HOUR)
    assert "PRIVATE" not in repr(leaf) + repr(authority)
    assert "BEGIN" not in repr(leaf)


def test_a_reproducible_certificate_is_the_same_in_every_replica_and_after_a_restart() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    first = Authority.create("osm-ca")
    second = Authority.load(first.root_pem, first.key_pem)
    later = now + timedelta(seconds=1)
    one = first.issue_reproducibly("bookstore.bookstore.cluster.local", validity=_HOUR, now=lambda: now)
    assert second.issue_reproducibly("bookstore.bookstore.cluster.local", validity=_HOUR, now=lambda: later) == one


def test_reproducible_certificates_of_other_names_validities_periods_or_authorities_have_other_keys() -> None:
    authority = Authority.create("osm-ca")
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    keys = {
        authority.issue_reproducibly("a.b.cluster.local", validity=_HOUR, now=lambda: now).key_pem,
        authority.issue_reproducibly("b.b.cluster.local", validity=_HOUR, now=lambda: now).key_pem,
        authority.issue_reproducibly("a.b.cluster.local", validity=2 * _HOUR, now=lambda: now).key_pem,
        authority.issue_reproducibly("a.b.cluster.local", validity=_HOUR, now=lambda: now + _HOUR).key_pem,
        Authority.create("osm-ca").issue_reproducibly("a.b.cluster.local", validity=_HOUR, now=lambda: now).key_pem,
    }
    assert len(keys) == 5


@given(
    validity=st.integers(10, 400_000).map(lambda seconds: timedelta(seconds=seconds)),
    moment=st.datetimes(datetime(2026, 1, 2), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
    name=st.sampled_from(["a.b.cluster.local", "b.b.cluster.local", "c.b.cluster.local"]),
)
@settings(max_examples=50)
def test_a_reproducible_certificate_has_at_least_a_third_of_its_validity_left_and_its_renewal_differs(
    validity: timedelta, moment: datetime, name: str
) -> None:
    now = moment.replace(tzinfo=UTC)
    leaf = _AUTHORITY.issue_reproducibly(name, validity=validity, now=lambda: now)
    assert leaf.not_before <= now < leaf.not_after
    assert leaf.not_after - now > validity / 3 - timedelta(seconds=1)
    assert now < leaf.renew_at + timedelta(seconds=1)
    renewed = _AUTHORITY.issue_reproducibly(name, validity=validity, now=lambda: max(now, leaf.renew_at))
    assert renewed.chain_pem != leaf.chain_pem
