"""TLS contexts for tests, from certificates that are never written to a disk."""

import os
import ssl

from osm_probes.pki.certificate import Certificate


def server_context(certificate: Certificate, *, client_root_pem: bytes = b"") -> ssl.SSLContext:
    """A server with this certificate. If there is a client root, it requires a client certificate of that root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(certificate.chain_pem + certificate.key_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    if client_root_pem:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_root_pem.decode())
    return context


def client_context(root_pem: bytes) -> ssl.SSLContext:
    """A client that trusts this root."""
    return ssl.create_default_context(cadata=root_pem.decode())
