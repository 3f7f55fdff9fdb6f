"""Certificates -> secrets: who a sidecar is, and whom it trusts as whom."""

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
from osm_probes.xds.names import callers_name, certificate_name, inbound_roots_name, outbound_roots_name
from osm_probes.xds.wire import to_resource

# An empty list of names would let every certificate pass; no CA issues for .invalid (RFC 2606).
_NOBODY: Final = "nobody.invalid"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a sidecar needs for TLS, as PEM: its certificate chain (leaf first), its key, the roots it trusts."""

    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    roots_pem: bytes = field(repr=False)


def certificate_secret(identity: Identity, *, secrets: Secrets) -> Resource:
    """The identity's own certificate and key."""
    name = certificate_name(identity)
    return to_resource(Secret(name=name, tls_certificate=certificate(secrets)), name=name)


def inbound_roots_secret(identity: Identity, *, roots_pem: bytes) -> Resource:
    """Whoever the mesh's CA vouches for may make a request; what it may ask is said by the route."""
    name = inbound_roots_name(identity)
    return to_resource(Secret(name=name, validation_context=_trusted(roots_pem)), name=name)


def callers_secret(
    to: Destination, *, target: int, admitted: tuple[Permission, ...] | None, roots_pem: bytes, trust_domain: str
) -> Resource:
    """Who may connect to a TCP destination: the sources of these permissions, with None everybody of the mesh.

    The handshake refuses the others. An RBAC filter would do so at the first byte that they send: a server that speaks
    first would have answered by then.
    """
    sources = {source for each in admitted or () for source in each.sources}
    context = _trusted(roots_pem) if admitted is None else _named(sources, roots_pem, trust_domain)
    name = callers_name(to, target=target)
    return to_resource(Secret(name=name, validation_context=context), name=name)


def outbound_roots_secret(to: Destination, *, roots_pem: bytes, trust_domain: str) -> Resource:
    """Only the service's own identities may answer for it; if it has none, nobody."""
    name = outbound_roots_name(to)
    context = _named(to.identities, roots_pem, trust_domain)
    return to_resource(Secret(name=name, validation_context=context), name=name)


def certificate(secrets: Secrets) -> TlsCertificate:
    """Chain and key."""
    return TlsCertificate(
        certificate_chain=DataSource(inline_bytes=secrets.chain_pem),
        private_key=DataSource(inline_bytes=secrets.key_pem),
    )


def only(dns_names: Sequence[str], *, roots_pem: bytes) -> CertificateValidationContext:
    """Trust certificates of these roots that hold one of these names exactly."""
    dns = SubjectAltNameMatcher.DNS
    matchers = [SubjectAltNameMatcher(san_type=dns, matcher=StringMatcher(exact=name)) for name in dns_names]
    context = _trusted(roots_pem)
    context.match_typed_subject_alt_names.extend(matchers)
    return context


def _named(identities: Iterable[Identity], roots_pem: bytes, trust_domain: str) -> CertificateValidationContext:
    principals = [identity.principal(trust_domain) for identity in sorted(identities)]
    return only(principals or [_NOBODY], roots_pem=roots_pem)


def _trusted(roots_pem: bytes) -> CertificateValidationContext:
    return CertificateValidationContext(trusted_ca=DataSource(inline_bytes=roots_pem))
