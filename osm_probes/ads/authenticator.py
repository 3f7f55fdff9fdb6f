"""Peer -> proxy: who dials is what its certificate says, never what its requests say."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from osm_probes.ads.errors import NotAdmittedError
from osm_probes.mesh.identity import CANARY, ProxyName, UnknownIdentityError
from osm_probes.pki.authority import common_names

Admit = Callable[[ProxyName], None]
"""Returns if this proxy is one of the mesh; raises NotAdmittedError with the reason if not."""

_CERTIFICATE = "x509_pem_cert"


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Who may speak with the ADS: proxies of this trust domain that `known` admits, and the canary."""

    trust_domain: str
    known: Admit

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> ProxyName:
        """The proxy that the peer's certificate names. Raises NotAdmittedError."""
        certificates = list(auth_context.get(_CERTIFICATE, ()))
        if not certificates:
            raise NotAdmittedError("a client certificate is required")
        try:
            names = common_names(certificates[0])
        except ValueError as error:
            raise NotAdmittedError("the client certificate cannot be read") from error
        for name in names:
            try:
                return ProxyName.parse(name, trust_domain=self.trust_domain)
            except UnknownIdentityError:
                continue
        raise NotAdmittedError(f"the certificate names no proxy of {self.trust_domain}")

    def check_node(self, node: str, *, proxy: ProxyName) -> None:
        """Refuse a node id that is another proxy's name; one that names none decides nothing."""
        try:
            claimed = ProxyName.parse(node, trust_domain=self.trust_domain)
        except UnknownIdentityError:
            return
        if claimed != proxy:
            raise NotAdmittedError("the node id names another proxy than the certificate")

    def admit(self, proxy: ProxyName) -> None:
        """Raises NotAdmittedError where the mesh does not know this proxy."""
        if proxy.kind != CANARY:
            self.known(proxy)
