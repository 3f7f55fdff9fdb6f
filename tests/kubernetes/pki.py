"""Certificates and keys of a test's API server, and kubeconfigs of its users."""

import base64
import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY: Final = timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem_of(key: Key) -> bytes:
    """A private key in PEM (PKCS #8)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class ClusterPki:
    """The cluster's CA, the API server's certificate and the service account key, as files in a folder."""

    def __init__(self, folder: Path, *, addresses: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-cluster-ca")])
        root = self._builder(self._name, self._key.public_key())
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.root_pem = root.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (folder / "ca.crt").write_bytes(self.root_pem)
        names = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")]
        addressed = [x509.IPAddress(ip_address(address)) for address in addresses]
        self.issue("apiserver", server=x509.SubjectAlternativeName([*names, *addressed]))
        accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (folder / "accounts.key").write_bytes(pem_of(accounts))

    def issue(self, name: str, *groups: str, server: x509.SubjectAlternativeName | None = None) -> tuple[bytes, bytes]:
        """Issue a certificate and key for a user in these groups, or for a server; also written to files."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        leaf = self._builder(subject, key.public_key()).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            leaf = leaf.add_extension(server, critical=False)
        pem = leaf.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        file = name.replace(":", "-")
        (self.folder / f"{file}.crt").write_bytes(pem)
        (self.folder / f"{file}.key").write_bytes(pem_of(key))
        return pem, pem_of(key)

    def kubeconfig(self, url: str, name: str, *groups: str) -> Path:
        """A kubeconfig with a new client certificate of this user."""
        certificate, key = (base64.b64encode(pem).decode() for pem in self.issue(name, *groups))
        cluster = {"server": url, "certificate-authority-data": base64.b64encode(self.root_pem).decode()}
        user = {"client-certificate-data": certificate, "client-key-data": key}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
        }
        file = self.folder / f"{name.replace(':', '-')}.kubeconfig"
        file.write_text(json.dumps(document))
        return file

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 30 * _DAY)
        )
