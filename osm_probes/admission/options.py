"""The options that all sidecars of a mesh have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InjectionOptions:
    """The mesh, and how its sidecars run.

    pull_policy: "" leaves it to Kubernetes. resources: `limits` and `requests` of both added containers.
    native_sidecar: run Envoy as an init container that keeps running (Kubernetes 1.29 and later). It starts before the
    other init containers, and does not keep a Job from completing.
    """

    mesh_name: str
    osm_namespace: str
    sidecar_image: str
    init_image: str
    pull_policy: str = ""
    log_level: str = "error"
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    native_sidecar: bool = False
