"""Certificate -> TLS context of the server. The private key is never written to a disk."""

import os
import ssl

from osm_probes.pki.certificate import Certificate


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """A context for TLS 1.2 and later that requests no client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module loads keys only from files: this file exists only in memory and has no name.
    descriptor = os.memfd_create("webhook-certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(certificate.chain_pem + b"\n" + certificate.key_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context
