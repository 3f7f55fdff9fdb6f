"""Manifests of control planes as a chart and a kubelet leave them: namespaces, Deployments, pods with a status."""

import socket
from typing import Any

from tests.cli.fake_kubelet import NODE
from tests.kubernetes.apiserver import ApiServer, path_of

MERGE = "application/merge-patch+json"


def namespace(name: str, *, labels: dict[str, str] | None = None, **annotations: str) -> dict[str, Any]:
    """A namespace. A keyword becomes an annotation: sidecar_injection is openservicemesh.io/sidecar-injection."""
    prefixed = {f"openservicemesh.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, "labels": labels or {}, "annotations": prefixed}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def enrolled_namespace(name: str, *, mesh: str, injection: str = "enabled") -> dict[str, Any]:
    """A namespace of a mesh."""
    return namespace(name, labels={"openservicemesh.io/monitored-by": mesh}, sidecar_injection=injection)


def deployment(app: str, *, namespace: str, mesh: str, version: str = "v0.8.0") -> dict[str, Any]:
    """A Deployment of a control plane."""
    labels = {"app": app, "meshName": mesh, **({"app.kubernetes.io/version": version} if version else {})}
    template = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": app, "image": f"osm/{app}"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "namespace": namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": app}}, "template": template},
    }


def pod(
    name: str, *, app: str, namespace: str, mesh: str, port: int = 9091, images: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A running pod of a control plane. images: of additional containers."""
    program: dict[str, Any] = {
        "name": app,
        "image": f"osm/{app}:v0.8.0",
        "livenessProbe": {"httpGet": {"path": "/health/alive", "port": port}},
    }
    additional: list[dict[str, Any]] = [
        {"name": image.rpartition("/")[2].partition(":")[0], "image": image} for image in images
    ]
    containers = [program, *additional]
    statuses = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }
        for container in containers
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app, "meshName": mesh}},
        "spec": {"containers": containers, "serviceAccountName": app, "nodeName": NODE},
        "status": {
            "phase": "Running",
            "podIP": own_address(),
            "podIPs": [{"ip": own_address()}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": statuses,
        },
    }


def endpoint_slice(app: str, *, namespace: str) -> dict[str, Any]:
    """The endpoints of a program's Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{app}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": app}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}],
    }


def patch_status(server: ApiServer, document: dict[str, Any], **status: Any) -> None:
    """Change fields of a pod's status, as its kubelet does."""
    server.request(
        "PATCH", f"{path_of(document)}/{document['metadata']['name']}/status", {"status": status}, content_type=MERGE
    )


def own_address() -> str:
    """An address of this machine that is not loopback: an API server does not proxy to loopback addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("192.0.2.1", 9))  # sends nothing
        address: str = udp.getsockname()[0]
        return address
