"""The CA's folder -> identities of healthy proxies, and the pods that make them part of the mesh."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.pki.ca_folder import load_authority
from osm_probes.pki.certificate import Certificate
from tests.ads.dial import TRUST_DOMAIN

BOOKSTORE = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))


TRIES = 40
"""The proxies from 0 on with which truth is asked: a proxy has one stream, and tries overlap."""


def proxy(number: int) -> ProxyName:
    """A proxy of the bookbuyer; those from TRIES on are for loads."""
    return ProxyName(f"00000000-0000-4000-8000-{number:012x}", SIDECAR, Identity("bookbuyer", "bookbuyer"))


def pods(count: int) -> str:
    """A manifest with the pods of the proxies of truth and of so many for loads."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [_pod(number) for number in range(TRIES + count)]})


def _pod(number: int) -> dict[str, object]:
    name = proxy(number)
    labels = {"app": "crowd", "osm-proxy-uuid": name.uuid}
    metadata = {"name": f"crowd-{number}", "namespace": name.identity.namespace, "labels": labels}
    spec = {
        "serviceAccountName": name.identity.service_account,
        "containers": [{"name": "app", "image": "example.org/app:1"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a proxy is and what it trusts."""

    certificate: Certificate
    root_pem: bytes


def credentials(ca: Path, name: ProxyName) -> Credentials:
    """A certificate of the CA that the folder has now. Raises AuthorityFolderError."""
    authority = load_authority(ca)
    certificate = authority.issue(name.common_name(TRUST_DOMAIN), validity=timedelta(days=1))
    return Credentials(certificate, authority.root_pem)
