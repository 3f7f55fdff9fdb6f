"""Vocabulary: who signs the mesh's certificates, and which roots all of its peers trust."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from osm_probes.pki.authority import Authority, InvalidAuthorityError


@dataclass(frozen=True, slots=True)
class Trust:
    """Who signs, and the roots that are trusted, as one PEM: more than the signer's while it is being replaced.

    The same roots make the same PEM, in whatever order they came: replicas tell proxies the same.
    """

    signer: Authority
    roots_pem: bytes

    @classmethod
    def of(cls, signer: Authority, roots: Iterable[bytes] = ()) -> Self:
        """This signer, whose root is trusted, and these."""
        return cls(signer, b"".join(sorted({signer.root_pem, *roots})))

    @property
    def mark(self) -> str:
        """What tells this trust from any other, in 16 characters."""
        return hashlib.sha256(self.signer.root_pem + b"\0" + self.roots_pem).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class CaBundle:
    """What the API server trusts where it asks the webhook: certificates, or why there are none."""

    pem: bytes = b""
    missing: str = ""


def roots_of(bundle_pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM, each alone and written alike, in their order. Raises InvalidAuthorityError."""
    if not bundle_pem.strip():
        return ()
    try:
        found = x509.load_pem_x509_certificates(bundle_pem)
    except ValueError as error:
        raise InvalidAuthorityError(f"a root certificate cannot be read: {error}") from error
    return tuple(each.public_bytes(serialization.Encoding.PEM) for each in found)
