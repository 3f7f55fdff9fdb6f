"""Builders of manifests, as YAML in one line."""

import json
from typing import Any

from osm_probes.mesh.labels import MONITORED_BY, PROXY_UUID, SERVICE_NAME


def document(
    kind: str, name: str = "shop", *, version: str = "v1", labels: dict[str, str] | None = None, **rest: Any
) -> str:
    """A manifest in the namespace shop; JSON is YAML."""
    metadata = {"name": name, "namespace": "shop", "labels": labels or {}}
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, **rest})


def namespace(name: str = "shop", *, mesh: str = "osm") -> str:
    """A namespace of a mesh."""
    return document("Namespace", name, labels={MONITORED_BY: mesh})


def service(*ports: dict[str, Any], **spec: Any) -> str:
    """The service shop, which selects pods with app=shop."""
    default = {"clusterIP": "10.96.0.1", "selector": {"app": "shop"}, "ports": list(ports or [{"port": 80}])}
    return document("Service", spec=default | spec)


def pod(name: str = "shop-0", *, ip: str = "10.42.0.1", account: str = "seller", **rest: Any) -> str:
    """A pod of the service, with a sidecar."""
    number = int(name.rpartition("-")[2])
    labels = {"app": "shop", PROXY_UUID: f"00000000-0000-0000-0000-{number:012d}"}
    spec = {"serviceAccountName": account, "containers": [{"ports": [{"name": "web", "containerPort": 14001}]}]}
    return document("Pod", name, labels=labels, spec=spec | rest.pop("spec", {}), status={"podIP": ip} | rest)


def slice_of(*endpoints: dict[str, Any], name: str = "shop-1", **rest: Any) -> str:
    """An EndpointSlice of the service shop."""
    default = {"addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": list(endpoints)} | rest
    labels = {SERVICE_NAME: "shop"}
    return document("EndpointSlice", name, version="discovery.k8s.io/v1", labels=labels, **default)


def mesh_config(spec: dict[str, Any], name: str = "osm-mesh-config") -> str:
    """The settings of the mesh."""
    return document("MeshConfig", name, version="config.openservicemesh.io/v1alpha2", spec=spec)


def account(name: str, *, namespace: str = "shop", **rest: Any) -> dict[str, Any]:
    """A service account, as a TrafficTarget names it."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace, **rest}


def rule(kind: str, name: str = "routes", *matches: str) -> dict[str, Any]:
    """A rule of a TrafficTarget."""
    return {"kind": kind, "name": name, "matches": list(matches)}


def target(*rules: dict[str, Any], name: str = "target", **spec: Any) -> str:
    """A TrafficTarget that lets buyer/buyer call shop/seller."""
    default = {"destination": account("seller"), "sources": [account("buyer", namespace="buyer")], "rules": list(rules)}
    return document("TrafficTarget", name, version="access.smi-spec.io/v1alpha3", spec=default | spec)


def route_group(*matches: dict[str, Any], name: str = "routes") -> str:
    """An HTTPRouteGroup."""
    return document("HTTPRouteGroup", name, version="specs.smi-spec.io/v1alpha4", spec={"matches": list(matches)})


def tcp_route(*ports: int, name: str = "routes") -> str:
    """A TCPRoute."""
    return document("TCPRoute", name, version="specs.smi-spec.io/v1alpha4", spec={"matches": {"ports": list(ports)}})


def split(name: str = "split", *, service: str = "shop", version: str = "v1alpha2", **weights: int) -> str:
    """A TrafficSplit. In a backend's name `__` means a dot and `_` a dash."""
    names = {name.replace("__", ".").replace("_", "-"): weight for name, weight in weights.items()}
    backends = [{"service": name, "weight": weight} for name, weight in names.items()]
    spec = {"service": service, "backends": backends}
    return document("TrafficSplit", name, version=f"split.smi-spec.io/{version}", spec=spec)
