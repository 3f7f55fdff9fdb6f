"""A certificate authority (CA): creates its root certificate and issues leaf certificates."""

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
_COMMON_NAME_LIMIT: Final = 64  # RFC 5280, ub-common-name: longer names go only into the subject alternative name


class InvalidAuthorityError(OsmError):
    """A stored root certificate and its key cannot be used. The text says why."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Authority:
    """A root certificate, which peers trust as `root_pem`, and its private key, always EC P-256."""

    root_pem: bytes
    not_after: datetime
    _certificate: x509.Certificate = field(repr=False, compare=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @classmethod
    def create(cls, common_name: str, *, now: Callable[[], datetime] = _now) -> "Authority":
        """Create a new root certificate, valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_LIMIT])])
        builder = _builder(name, issuer=name, public_key=key.public_key(), now=now(), validity=ROOT_VALIDITY)
        certificate = (
            builder.serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls._of(certificate, key)

    @classmethod
    def load(cls, root_pem: bytes, key_pem: bytes, *, now: Callable[[], datetime] = _now) -> "Authority":
        """Load a stored root certificate and its key.

        Raises InvalidAuthorityError if they are unreadable, not a pair, not a CA, not P-256, or expired.
        """
        try:
            certificate = x509.load_pem_x509_certificate(root_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError) as error:
            raise InvalidAuthorityError(f"the root certificate or its key cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidAuthorityError("the root's key is not an elliptic-curve key")
        if not isinstance(key.curve, ec.SECP256R1):
            raise InvalidAuthorityError(f"the root's key is on curve {key.curve.name}: only P-256 (secp256r1) is valid")
        if certificate.public_key() != key.public_key():
            raise InvalidAuthorityError("the private key does not belong to the root certificate")
        if not _is_ca(certificate):
            raise InvalidAuthorityError("the root certificate is not allowed to sign others")
        if certificate.not_valid_after_utc <= now():
            raise InvalidAuthorityError(f"the root certificate expired at {certificate.not_valid_after_utc:%FT%TZ}")
        return cls._of(certificate, key)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM. Only for the code that stores the CA."""
        return _pem(self._key)

    def issue(
        self,
        common_name: str,
        *,
        validity: timedelta,
        dns_names: Sequence[str] = (),
        now: Callable[[], datetime] = _now,
    ) -> Certificate:
        """Issue a certificate for server and client authentication. It never expires after the root.

        Its DNS names are `common_name` and `dns_names`. Raises InvalidAuthorityError if the root has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._build_leaf((common_name, *dns_names), key=key, at=now(), validity=validity)
        leaf = leaf.serial_number(x509.random_serial_number())
        return _certificate(common_name, leaf.sign(self._key, hashes.SHA256()), key)

    def issue_reproducibly(
        self, common_name: str, *, validity: timedelta, now: Callable[[], datetime] = _now
    ) -> Certificate:
        """Issue a certificate that is the same, byte for byte, in every replica and after every restart.

        Time is divided into periods of two thirds of `validity`. A certificate is issued as of the start of the current
        period, with a key derived from the CA's key. So its remaining validity is between a third and all of
        `validity`. Raises InvalidAuthorityError if the root has expired.
        """
        start = _period_start(common_name, validity=validity, now=now())
        secret = self._derive(f"{common_name} {start.timestamp():.0f} {validity.total_seconds():g}")
        # FIPS 186-5, A.2.1: 64 bits more than the group order has make the bias of the modulo negligible.
        key = ec.derive_private_key(int.from_bytes(secret[:40], "big") % (_ORDER - 1) + 1, ec.SECP256R1())
        leaf = self._build_leaf((common_name,), key=key, at=start, validity=validity)
        leaf = leaf.serial_number(int.from_bytes(secret[40:], "big") | 1)
        signed = leaf.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)
        return _certificate(common_name, signed, key)

    def _derive(self, purpose: str) -> bytes:
        secret = self._key.private_numbers().private_value.to_bytes(32, "big")
        return HKDF(hashes.SHA256(), length=56, salt=None, info=purpose.encode()).derive(secret)

    def _build_leaf(
        self, names: Sequence[str], *, key: ec.EllipticCurvePrivateKey, at: datetime, validity: timedelta
    ) -> x509.CertificateBuilder:
        common_name = names[0] if len(names[0]) <= _COMMON_NAME_LIMIT else ""
        left = self.not_after - at
        if left <= timedelta():
            raise InvalidAuthorityError(f"the root expired at {self.not_after:%FT%TZ}: nothing can be issued")
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []),
            issuer=self._certificate.subject,
            public_key=key.public_key(),
            now=at,
            validity=min(validity, left),
        )
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # RFC 5280 4.2.1.6: critical if the subject is empty.
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in dict.fromkeys(names)]),
                critical=not common_name,
            )
            .add_extension(self._authority_key_identifier(), critical=False)
        )

    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        # RFC 5280 4.2.1.1: the root's own key identifier, however it was computed. Peers that trust several roots with
        # the same name find the signer by it.
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
    # The periods of different names start at different times, so that renewals are spread.
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


def _key_usage(*, signs: bool) -> x509.KeyUsage:
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


def _is_ca(certificate: x509.Certificate) -> bool:
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


def certificate_names(certificate_pem: bytes) -> tuple[str, ...]:
    """All names of a certificate: its common name and its DNS names. Raises ValueError if it is unreadable."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    names = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return tuple(names)
    return tuple(dict.fromkeys([*names, *extension.value.get_values_for_type(x509.DNSName)]))


def certificate_digest(certificate_pem: bytes) -> bytes:
    """The SHA-256 of the first certificate's DER. Raises ValueError if it is unreadable."""
    return x509.load_pem_x509_certificate(certificate_pem).fingerprint(hashes.SHA256())


def latest_expiry(bundle_pem: bytes) -> datetime:
    """When the last certificate of a PEM bundle expires. Raises ValueError if the bundle is unreadable."""
    return max(certificate.not_valid_after_utc for certificate in x509.load_pem_x509_certificates(bundle_pem))
