"""Configuration -> injection: what every sidecar of this mesh has in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InjectionOptions:
    """The mesh that injects, and how its sidecars run.

    pull_policy: "" leaves it to Kubernetes. resources: `limits` and `requests`, for both added containers.
    native_sidecar: run Envoy as an init container that keeps running (Kubernetes 1.29 and later): it starts before
    the other init containers and lets jobs end.
    """

    mesh_name: str
    osm_namespace: str
    sidecar_image: str
    init_image: str
    pull_policy: str = ""
    log_level: str = "error"
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    native_sidecar: bool = False
