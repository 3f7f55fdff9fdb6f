"""Certificate -> TLS context of the server. The private key is never written to a disk."""

import os
import ssl

from osm_probes.pki.certificate import Certificate


def server_context(certificate: Certificate, *, client_ca_pem: bytes = b"") -> ssl.SSLContext:
    """A context for TLS 1.2 and later.

    client_ca_pem: if not empty, a client may present a certificate, which one of these CAs must have signed. A client
    without one is accepted, because kubelets, which send probes to the same port, have none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if client_ca_pem:
        context.load_verify_locations(cadata=client_ca_pem.decode("ascii"))
        context.verify_mode = ssl.CERT_OPTIONAL
    # The ssl module loads keys only from files: this file exists only in memory and has no name.
    descriptor = os.memfd_create("webhook-certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(certificate.chain_pem + b"\n" + certificate.key_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context
