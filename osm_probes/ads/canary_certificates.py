"""The canary's certificates -> whether a peer is the canary of this process."""

from collections import deque
from typing import Final

from osm_probes.pki.authority import certificate_digest
from osm_probes.pki.certificate import Certificate

# A renewal must not refuse a request that the judge began with the certificate before it.
_KEPT: Final = 2


class CanaryCertificates:
    """The certificates that this process gave to its judge: the newest, and the one before it."""

    def __init__(self) -> None:
        self._digests: deque[bytes] = deque(maxlen=_KEPT)

    def give(self, certificate: Certificate) -> Certificate:
        """Remember this certificate, and return it. Call it before the judge gets it."""
        digest = certificate_digest(certificate.chain_pem)
        if digest not in self._digests:
            self._digests.append(digest)
        return certificate

    def has(self, digest: bytes) -> bool:
        """Whether a certificate with this digest is one of them."""
        return digest in self._digests
