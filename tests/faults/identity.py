"""The CA folder -> certificates of proxies, and the pods that make these proxies part of the mesh."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.pki.ca_folder import load_authority
from osm_probes.pki.certificate import Certificate
from tests.ads.client import TRUST_DOMAIN

BOOKSTORE = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))


TRIES = 40
"""The proxies below TRIES send the truth requests. They are many, because a proxy has one stream and tries overlap."""


def proxy(number: int) -> ProxyName:
    """The name of a bookbuyer's proxy. The proxies from TRIES on are for load."""
    return ProxyName(f"00000000-0000-4000-8000-{number:012x}", SIDECAR, Identity("bookbuyer", "bookbuyer"))


def pods(count: int) -> str:
    """A manifest with the pods of the truth's proxies and of `count` load proxies."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [_pod(number) for number in range(TRIES + count)]})


def _pod(number: int) -> dict[str, object]:
    return _proxy_pod(proxy(number), f"proxy-{number}", app="proxy")


def crowd_proxy(number: int) -> ProxyName:
    """The proxy of the identity `number` of a crowd."""
    return ProxyName(f"00000000-0000-4000-9000-{number:012x}", SIDECAR, Identity(f"crowd{number}", "app"))


def crowd_manifest(services: int, *, identities: int) -> Iterator[tuple[str, str]]:
    """Manifests of a mesh of so many services and identities, which share the services equally: names and texts."""
    for number in range(identities):
        name = crowd_proxy(number)
        namespace = name.identity.namespace
        items = [
            _object("Namespace", namespace, labels={"openservicemesh.io/monitored-by": "osm"}),
            _object("ServiceAccount", "app", namespace),
            _proxy_pod(name, "app-0", app="app", podIP=_ip(44, number)),
            *(_service(f"app-{index}", namespace, index) for index in range(number, services, identities)),
        ]
        yield f"crowd{number}.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _proxy_pod(name: ProxyName, pod: str, *, app: str, **status: object) -> dict[str, object]:
    labels = {"app": app, "osm-proxy-uuid": name.uuid}
    containers = [{"name": "app", "image": "example.org/app:1"}]
    spec = {"serviceAccountName": name.identity.service_account, "containers": containers}
    return _object("Pod", pod, name.identity.namespace, labels=labels, spec=spec, status={"phase": "Running", **status})


def _service(name: str, namespace: str, number: int) -> dict[str, object]:
    ports = [{"name": "http", "port": 80, "targetPort": 14001}]
    spec = {"clusterIP": _ip(97, number), "selector": {"app": "app"}, "ports": ports}
    return _object("Service", name, namespace, spec=spec)


def _object(kind: str, name: str, namespace: str = "", **rest: object) -> dict[str, object]:
    metadata = {"name": name, "labels": rest.pop("labels", {})} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **rest}


def _ip(second: int, number: int) -> str:
    return f"10.{second}.{number // 250}.{number % 250}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A proxy's certificate, and the root that it trusts."""

    certificate: Certificate
    root_pem: bytes


def credentials(ca: Path, name: ProxyName) -> Credentials:
    """A certificate from the CA that is now in the folder. Raises AuthorityFolderError."""
    authority = load_authority(ca)
    certificate = authority.issue(name.common_name(TRUST_DOMAIN), validity=timedelta(days=1))
    return Credentials(certificate, authority.root_pem)
