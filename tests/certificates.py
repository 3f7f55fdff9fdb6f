"""TLS contexts of tests: a server's and a client's, from certificates that never touch a disk."""

import os
import ssl

from osm_probes.pki.certificate import Certificate


def server_context(certificate: Certificate, *, client_root_pem: bytes = b"") -> ssl.SSLContext:
    """A server that presents this certificate, and asks for one of that root if there is one."""
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
