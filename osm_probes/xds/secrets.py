"""Certificates -> secrets (SDS): a sidecar's own certificate, and what verifies the certificates of its peers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsCertificate,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.policy import Permission
from osm_probes.snapshot.snapshot import Resource
from osm_probes.xds.destination import Destination
from osm_probes.xds.protobuf import to_resource
from osm_probes.xds.resource_names import (
    certificate_secret_name,
    inbound_validation_name,
    outbound_validation_name,
    tcp_inbound_validation_name,
)

# Without any name in the list Envoy would accept every certificate. No CA issues names below .invalid (RFC 2606).
_NOBODY: Final = "nobody.invalid"


@dataclass(frozen=True, slots=True)
class Secrets:
    """The TLS material of a sidecar as PEM: its certificate chain (leaf first), its key, the roots that it trusts."""

    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    roots_pem: bytes = field(repr=False)


def certificate_secret(identity: Identity, *, secrets: Secrets) -> Resource:
    """The identity's own certificate and key."""
    name = certificate_secret_name(identity)
    return to_resource(Secret(name=name, tls_certificate=tls_certificate(secrets)), name=name)


def inbound_validation_secret(identity: Identity, *, roots_pem: bytes) -> Resource:
    """HTTP callers need any certificate of the mesh. The RBAC of the route decides what they may request."""
    name = inbound_validation_name(identity)
    return to_resource(Secret(name=name, validation_context=_any_name(roots_pem)), name=name)


def tcp_inbound_validation_secret(
    destination: Destination,
    *,
    target: int,
    permissions: tuple[Permission, ...] | None,
    roots_pem: bytes,
    trust_domain: str,
) -> Resource:
    """TCP callers need a certificate of a source of these permissions; None = any certificate of the mesh.

    The TLS handshake rejects all other callers. A network RBAC filter would decide only at the caller's first byte, and
    a protocol where the server speaks first would already have sent its greeting.
    """
    sources = {source for permission in permissions or () for source in permission.sources}
    context = _any_name(roots_pem) if permissions is None else _identities_only(sources, roots_pem, trust_domain)
    name = tcp_inbound_validation_name(destination, target=target)
    return to_resource(Secret(name=name, validation_context=context), name=name)


def outbound_validation_secret(destination: Destination, *, roots_pem: bytes, trust_domain: str) -> Resource:
    """A service's pods need a certificate of one of its identities. Without identities no certificate is accepted."""
    name = outbound_validation_name(destination)
    context = _identities_only(destination.identities, roots_pem, trust_domain)
    return to_resource(Secret(name=name, validation_context=context), name=name)


def tls_certificate(secrets: Secrets) -> TlsCertificate:
    """The certificate chain with its private key."""
    return TlsCertificate(
        certificate_chain=DataSource(inline_bytes=secrets.chain_pem),
        private_key=DataSource(inline_bytes=secrets.key_pem),
    )


def validation_context(dns_names: Sequence[str], *, roots_pem: bytes) -> CertificateValidationContext:
    """Accept certificates that chain to these roots and contain one of these DNS names exactly."""
    dns = SubjectAltNameMatcher.DNS
    matchers = [SubjectAltNameMatcher(san_type=dns, matcher=StringMatcher(exact=name)) for name in dns_names]
    context = _any_name(roots_pem)
    context.match_typed_subject_alt_names.extend(matchers)
    return context


def _identities_only(
    identities: Iterable[Identity], roots_pem: bytes, trust_domain: str
) -> CertificateValidationContext:
    principals = [identity.principal(trust_domain) for identity in sorted(identities)]
    return validation_context(principals or [_NOBODY], roots_pem=roots_pem)


def _any_name(roots_pem: bytes) -> CertificateValidationContext:
    return CertificateValidationContext(trusted_ca=DataSource(inline_bytes=roots_pem))
