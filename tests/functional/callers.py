"""Callers without a sidecar: with a certificate from the mesh's CA, from another CA, or without a certificate."""

import base64
import ssl
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from demo.namespaces import Namespace
from demo.testbed import BOOKSTORE_IP
from osm_probes.pki.authority import Authority
from osm_probes.pki.ca_folder import load_authority
from osm_probes.pki.certificate import Certificate

BUYER = "bookbuyer.bookbuyer.cluster.local"
Json = dict[str, Any]


def mesh_certificate(ca_dir: Path, *, name: str = BUYER) -> Certificate:
    """A certificate for `name` that the mesh's CA issues."""
    return load_authority(ca_dir).issue(name, validity=timedelta(hours=1))


def foreign_certificate(name: str = BUYER) -> Certificate:
    """A certificate for `name` that another CA with the same subject issues."""
    return Authority.create("osm-ca").issue(name, validity=timedelta(hours=1))


def over_tls(
    caller: Namespace, *, certificate: Certificate | None, service: str = "bookstore", address: str = BOOKSTORE_IP
) -> bytes:
    """Send GET /books over TLS to the bookstore's inbound port, with the SNI of `service`, and return the response.

    Raises OSError if the bookstore's sidecar refuses the connection.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the tests check how the server verifies the caller, not the reverse
    if certificate:
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate.chain_pem + certificate.key_pem)
            file.flush()
            context.load_cert_chain(file.name)
    connection = caller.connect(address, 14001)
    with context.wrap_socket(connection, server_hostname=f"{service}.bookstore.svc.cluster.local") as secure:
        secure.sendall(b"GET /books HTTP/1.1\r\nHost: bookstore.bookstore\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: secure.recv(65536), b""))


def with_certificate(bootstrap: Json, certificate: Certificate) -> Json:
    """The bootstrap with another client certificate for the ADS and the same trusted roots."""
    [ads] = [cluster for cluster in bootstrap["static_resources"]["clusters"] if cluster["name"] == "osm-controller"]
    tls = ads["transport_socket"]["typed_config"]["common_tls_context"]
    tls["tls_certificates"] = [
        {
            "certificate_chain": {"inline_bytes": base64.b64encode(certificate.chain_pem).decode()},
            "private_key": {"inline_bytes": base64.b64encode(certificate.key_pem).decode()},
        }
    ]
    return bootstrap


def ads_name(bootstrap: Json) -> str:
    """The common name of the proxy's certificate for the ADS."""
    name: str = bootstrap["node"]["id"]
    return name
