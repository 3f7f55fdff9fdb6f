"""The authority that signs the mesh's certificates, and the roots that all peers trust."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from osm_probes.pki.authority import Authority, InvalidAuthorityError


@dataclass(frozen=True, slots=True)
class Trust:
    """The signing authority, and all trusted roots as one PEM. During a CA rotation there are several roots.

    The PEM does not depend on the order of the roots, so all replicas send proxies the same bytes.
    """

    signer: Authority
    roots_pem: bytes

    @classmethod
    def of(cls, signer: Authority, roots: Iterable[bytes] = ()) -> Self:
        """Trust the signer's root and these further roots."""
        return cls(signer, b"".join(sorted({signer.root_pem, *roots})))

    @property
    def fingerprint(self) -> str:
        """Identifies the signer and the roots: 16 hexadecimal characters."""
        return hashlib.sha256(self.signer.root_pem + b"\0" + self.roots_pem).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class CaBundle:
    """The roots that the API server trusts when it calls the webhook. If there are none, `missing` says why."""

    pem: bytes = b""
    missing: str = ""


def split_roots(bundle_pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM bundle, in order, each as a normalised PEM. Raises InvalidAuthorityError."""
    if not bundle_pem.strip():
        return ()
    try:
        roots = x509.load_pem_x509_certificates(bundle_pem)
    except ValueError as error:
        raise InvalidAuthorityError(f"a root certificate cannot be read: {error}") from error
    return tuple(root.public_bytes(serialization.Encoding.PEM) for root in roots)
