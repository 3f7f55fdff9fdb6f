"""Control planes as a chart and a kubelet leave them: Deployments, and pods with their status."""

import socket
from typing import Any

from tests.cli.kubelet import NODE
from tests.kubernetes.apiserver import ApiServer, path_of

MERGE = "application/merge-patch+json"


def namespace(name: str, *, labels: dict[str, str] | None = None, **annotations: str) -> dict[str, Any]:
    """A namespace; annotations by the last part of their names."""
    written = {f"openservicemesh.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, "labels": labels or {}, "annotations": written}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def enrolled(name: str, *, mesh: str, injection: str = "enabled") -> dict[str, Any]:
    """A namespace of a mesh."""
    return namespace(name, labels={"openservicemesh.io/monitored-by": mesh}, sidecar_injection=injection)


def deployment(app: str, *, home: str, mesh: str, version: str = "v0.8.0") -> dict[str, Any]:
    """A Deployment of a control plane."""
    labels = {"app": app, "meshName": mesh, **({"app.kubernetes.io/version": version} if version else {})}
    template = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": app, "image": f"osm/{app}"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "namespace": home, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": app}}, "template": template},
    }


def pod(name: str, *, app: str, home: str, mesh: str, port: int = 9091, images: tuple[str, ...] = ()) -> dict[str, Any]:
    """A pod of a control plane that runs; `images` of further containers."""
    own: dict[str, Any] = {
        "name": app,
        "image": f"osm/{app}:v0.8.0",
        "livenessProbe": {"httpGet": {"path": "/health/alive", "port": port}},
    }
    more: list[dict[str, Any]] = [
        {"name": image.rpartition("/")[2].partition(":")[0], "image": image} for image in images
    ]
    containers = [own, *more]
    running = [
        {
            "name": each["name"],
            "image": each["image"],
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }
        for each in containers
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": home, "labels": {"app": app, "meshName": mesh}},
        "spec": {"containers": containers, "serviceAccountName": app, "nodeName": NODE},
        "status": {
            "phase": "Running",
            "podIP": own_address(),
            "podIPs": [{"ip": own_address()}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": running,
        },
    }


def slice_of(app: str, *, home: str) -> dict[str, Any]:
    """The endpoints of a program's Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{app}-1", "namespace": home, "labels": {"kubernetes.io/service-name": app}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}],
    }


def report(server: ApiServer, document: dict[str, Any], **status: Any) -> None:
    """What a kubelet reports about a pod: these fields of its status."""
    server.request(
        "PATCH", f"{path_of(document)}/{document['metadata']['name']}/status", {"status": status}, form=MERGE
    )


def own_address() -> str:
    """An address of this machine that is not loopback: an API server proxies to no loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))  # nothing is sent
        address: str = asking.getsockname()[0]
        return address
