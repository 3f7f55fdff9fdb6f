"""Pod and namespace -> whether the pod gets a sidecar, and if not, why."""

from typing import Final

from osm_probes.admission.annotations import parse_enabled
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.pod import Pod
from osm_probes.mesh import labels
from osm_probes.mesh.mesh import Mesh, NamespaceMetadata

_SYSTEM_NAMESPACES: Final = ("kube-system", "kube-public")

_UNKNOWN: Final = "an unknown namespace"
_OUTSIDE: Final = "a namespace outside the mesh"
_IGNORED: Final = "an ignored namespace"
_NOT_ENABLED: Final = "neither pod nor namespace asks for a sidecar"

NAMESPACE_REASONS: Final = frozenset({_UNKNOWN, _OUTSIDE, _IGNORED, _NOT_ENABLED})
"""The reasons that depend on the namespace's metadata, so that outdated metadata may give a wrong one."""


def ineligibility_reason(
    pod: Pod, *, namespace: str, metadata: NamespaceMetadata | None, options: InjectionOptions
) -> str:
    """Why this pod gets no sidecar; "" if it gets one. Raises BadAnnotationError.

    metadata: of the namespace; None means that it is not known, so it is not part of the mesh.
    """
    return _namespace_reason(namespace, metadata, options) or _pod_reason(pod, namespace, metadata)


def namespaces_with_sidecars(mesh: Mesh | None, *, osm_namespace: str) -> dict[str, NamespaceMetadata]:
    """The namespaces of the mesh whose pods may get sidecars, by name."""
    excluded = {*_SYSTEM_NAMESPACES, osm_namespace}
    return {
        name: metadata
        for name, metadata in (mesh.namespaces.items() if mesh is not None else ())
        if name not in excluded and labels.IGNORE not in metadata.labels
    }


def _namespace_reason(namespace: str, metadata: NamespaceMetadata | None, options: InjectionOptions) -> str:
    if namespace in (*_SYSTEM_NAMESPACES, options.osm_namespace):
        return "a system namespace"
    if metadata is None:
        return _UNKNOWN
    if metadata.labels.get(labels.MONITORED_BY) != options.mesh_name:
        return _OUTSIDE
    if labels.IGNORE in metadata.labels:
        return _IGNORED
    return ""


def _pod_reason(pod: Pod, namespace: str, metadata: NamespaceMetadata | None) -> str:
    # The redirect would change the network of the node.
    if pod.spec.host_network:
        return "a pod on the host network"
    # Windows has no iptables.
    if "windows" in ((pod.spec.node_selector or {}).get(labels.OS), pod.spec.os and pod.spec.os.name):
        return "a Windows pod"
    pod_enables = parse_enabled(pod.annotations, labels.INJECTION, of="the pod")
    namespace_annotations = metadata.annotations if metadata else {}
    namespace_enables = parse_enabled(namespace_annotations, labels.INJECTION, of=f"namespace {namespace}")
    if pod_enables is False:
        return "a pod that opted out"
    if not (pod_enables or namespace_enables):
        return _NOT_ENABLED
    return "a pod that has its sidecar" if pod.has_sidecar else ""
