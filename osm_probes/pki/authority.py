"""Vocabulary: the mesh's certificate authority: makes roots, issues leaves."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from osm_probes.foundation.errors import OsmError
from osm_probes.pki.certificate import BACKDATED, Certificate

ROOT_VALIDITY: Final = timedelta(days=3650)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, 2.4.2)
_COMMON_NAME_LIMIT: Final = 64  # RFC 5280, ub-common-name: longer names live in the subject alternative name alone


class InvalidAuthorityError(OsmError):
    """A stored root and its key cannot be used; the text says why and what to do."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Authority:
    """A root certificate with its key: `root_pem` is what peers trust. Only EC P-256 keys."""

    root_pem: bytes
    not_after: datetime
    _certificate: x509.Certificate = field(repr=False, compare=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @classmethod
    def create(cls, common_name: str, *, now: Callable[[], datetime] = _now) -> "Authority":
        """Make a new root, valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_LIMIT])])
        builder = _builder(name, issuer=name, public_key=key.public_key(), now=now(), validity=ROOT_VALIDITY)
        certificate = (
            builder.serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls._of(certificate, key)

    @classmethod
    def load(cls, root_pem: bytes, key_pem: bytes, *, now: Callable[[], datetime] = _now) -> "Authority":
        """Take a stored root. Raises InvalidAuthorityError: unreadable, no CA, expired, no P-256, or no pair."""
        try:
            certificate = x509.load_pem_x509_certificate(root_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError) as error:
            raise InvalidAuthorityError(f"the root certificate or its key cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidAuthorityError("the root's key is no elliptic-curve key")
        if not isinstance(key.curve, ec.SECP256R1):
            raise InvalidAuthorityError(f"the root's key is on curve {key.curve.name}: only P-256 (secp256r1) is taken")
        if certificate.public_key() != key.public_key():
            raise InvalidAuthorityError("the private key does not belong to the root certificate")
        if not _may_sign(certificate):
            raise InvalidAuthorityError("the root certificate is not allowed to sign others")
        if certificate.not_valid_after_utc <= now():
            raise InvalidAuthorityError(f"the root certificate expired at {certificate.not_valid_after_utc:%FT%TZ}")
        return cls._of(certificate, key)

    @property
    def key_pem(self) -> bytes:
        """The root's private key, for its store alone."""
        return _pem(self._key)

    def issue(
        self,
        common_name: str,
        *,
        validity: timedelta,
        dns_names: Sequence[str] = (),
        now: Callable[[], datetime] = _now,
    ) -> Certificate:
        """Issue a certificate for servers and clients alike, never outliving the root.

        Its DNS names are `common_name` and `dns_names`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._leaf((common_name, *dns_names), key=key, at=now(), validity=validity)
        leaf = leaf.serial_number(x509.random_serial_number())
        return _certificate(common_name, leaf.sign(self._key, hashes.SHA256()), key)

    def issue_reproducibly(
        self, common_name: str, *, validity: timedelta, now: Callable[[], datetime] = _now
    ) -> Certificate:
        """Issue the same certificate, byte for byte, whoever holds this authority: each replica, after each restart.

        Time is cut into periods of two thirds of `validity`; a certificate is issued as of its period's beginning, and
        its key is derived from the authority's. So what is left of its life is between a third and all of `validity`.
        """
        start = _period_start(common_name, validity=validity, now=now())
        secret = self._derive(f"{common_name} {start.timestamp():.0f} {validity.total_seconds():g}")
        # FIPS 186-5, A.2.1: 64 bits more than the order's make the remainder's bias negligible.
        key = ec.derive_private_key(int.from_bytes(secret[:40], "big") % (_ORDER - 1) + 1, ec.SECP256R1())
        leaf = self._leaf((common_name,), key=key, at=start, validity=validity)
        leaf = leaf.serial_number(int.from_bytes(secret[40:], "big") | 1)
        signed = leaf.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)
        return _certificate(common_name, signed, key)

    def _derive(self, purpose: str) -> bytes:
        secret = self._key.private_numbers().private_value.to_bytes(32, "big")
        return HKDF(hashes.SHA256(), length=56, salt=None, info=purpose.encode()).derive(secret)

    def _leaf(
        self, names: Sequence[str], *, key: ec.EllipticCurvePrivateKey, at: datetime, validity: timedelta
    ) -> x509.CertificateBuilder:
        short = names[0] if len(names[0]) <= _COMMON_NAME_LIMIT else ""
        left = self.not_after - at
        if left <= timedelta():
            raise InvalidAuthorityError(f"the root expired at {self.not_after:%FT%TZ}: nothing can be issued")
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, short)] if short else []),
            issuer=self._certificate.subject,
            public_key=key.public_key(),
            now=at,
            validity=min(validity, left),
        )
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # RFC 5280 4.2.1.6: critical where the subject is empty.
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in dict.fromkeys(names)]), critical=not short
            )
            .add_extension(self._key_identifier(), critical=False)
        )

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        # RFC 5280 4.2.1.1: as the root says it, however that was computed. Peers that trust several roots of one name
        # find the signer by this.
        try:
            own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)

    @classmethod
    def _of(cls, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> "Authority":
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return cls(pem, certificate.not_valid_after_utc, certificate, key)


def _period_start(name: str, *, validity: timedelta, now: datetime) -> datetime:
    period = max(1, int(validity.total_seconds() * 2 / 3))
    # Names begin their periods at different moments, so that not all are renewed at once.
    offset = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % period
    at = int(now.timestamp())
    return datetime.fromtimestamp(at - (at - offset) % period, UTC)


def _certificate(common_name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    return Certificate(
        common_name,
        certificate.public_bytes(serialization.Encoding.PEM),
        _pem(key),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _builder(
    subject: x509.Name,
    *,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    validity: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + validity)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(certificate)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return constraints.ca


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def common_names(certificate_pem: bytes) -> tuple[str, ...]:
    """Every name that a certificate claims: its common name and its DNS names. Raises ValueError if unreadable."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    names = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return tuple(names)
    return tuple(dict.fromkeys([*names, *extension.value.get_values_for_type(x509.DNSName)]))


def ends_at(bundle_pem: bytes) -> datetime:
    """Until when the last of a bundle's certificates is in date. Raises ValueError if unreadable."""
    return max(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(bundle_pem))
