"""Certificate -> the TLS settings of new handshakes; the private key never touches a disk."""

import os
import ssl

from osm_probes.pki.certificate import Certificate


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """TLS 1.2 or later, no client certificate asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads keys from files only: this one lives in memory and has no name.
    descriptor = os.memfd_create("webhook-certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(certificate.chain_pem + b"\n" + certificate.key_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context
