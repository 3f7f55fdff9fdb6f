"""Client certificate -> proxy: a peer's identity comes from its certificate, never from its requests."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from osm_probes.ads.errors import NotAdmittedError
from osm_probes.mesh.identity import CANARY, CANARY_PROXY, ProxyName, UnknownIdentityError
from osm_probes.pki.authority import certificate_digest, certificate_names

Admit = Callable[[ProxyName], None]
"""Returns if this proxy belongs to the mesh; otherwise raises NotAdmittedError with the reason."""

IsCanary = Callable[[bytes], bool]
"""Whether the certificate with this digest is the canary's: one that this process gave to its own judge."""

_CERTIFICATE = "x509_pem_cert"


def no_canary(_digest: bytes) -> bool:
    """The IsCanary of an ADS without a canary."""
    return False


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Admits the proxies of this trust domain that `admit_proxy` accepts, and the canary.

    The canary is recognized by its certificate itself, not by a name: no certificate that another program has, whatever
    its name, is served without a pod.
    """

    trust_domain: str
    admit_proxy: Admit
    is_canary: IsCanary = no_canary

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> ProxyName:
        """The proxy that the peer's certificate names, or CANARY_PROXY. Raises NotAdmittedError."""
        certificates = list(auth_context.get(_CERTIFICATE, ()))
        if not certificates:
            raise NotAdmittedError("a client certificate is required")
        try:
            digest, names = certificate_digest(certificates[0]), certificate_names(certificates[0])
        except ValueError as error:
            raise NotAdmittedError("the client certificate cannot be read") from error
        if self.is_canary(digest):
            return CANARY_PROXY
        for name in names:
            try:
                return ProxyName.parse(name, trust_domain=self.trust_domain)
            except UnknownIdentityError:
                continue
        raise NotAdmittedError(f"the certificate names no proxy of {self.trust_domain}")

    def check_node_id(self, node_id: str, *, proxy: ProxyName) -> None:
        """Raises NotAdmittedError if the node id is the name of another proxy. Any other text is allowed."""
        try:
            claimed = ProxyName.parse(node_id, trust_domain=self.trust_domain)
        except UnknownIdentityError:
            return
        if claimed != proxy:
            raise NotAdmittedError("the node id names another proxy than the certificate")

    def admit(self, proxy: ProxyName) -> None:
        """Raises NotAdmittedError if this proxy does not belong to the mesh."""
        if proxy.kind != CANARY:
            self.admit_proxy(proxy)
