"""Client certificate -> proxy: a peer's identity comes from its certificate, never from its requests."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from osm_probes.ads.errors import NotAdmittedError
from osm_probes.mesh.identity import CANARY, ProxyName, UnknownIdentityError
from osm_probes.pki.authority import certificate_names

Admit = Callable[[ProxyName], None]
"""Returns if this proxy belongs to the mesh; otherwise raises NotAdmittedError with the reason."""

_CERTIFICATE = "x509_pem_cert"


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Admits the proxies of this trust domain that `admit_proxy` accepts, and the canary."""

    trust_domain: str
    admit_proxy: Admit

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> ProxyName:
        """The proxy that the peer's certificate names. Raises NotAdmittedError."""
        certificates = list(auth_context.get(_CERTIFICATE, ()))
        if not certificates:
            raise NotAdmittedError("a client certificate is required")
        try:
            names = certificate_names(certificates[0])
        except ValueError as error:
            raise NotAdmittedError("the client certificate cannot be read") from error
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
