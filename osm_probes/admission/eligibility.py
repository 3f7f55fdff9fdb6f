"""Pod and namespace -> does it get a sidecar, and if not, why."""

from typing import Final

from osm_probes.admission import annotations as annotation
from osm_probes.admission.namespaces import NamespaceFacts
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.pod import Pod
from osm_probes.mesh import labels

_NEVER: Final = ("kube-system", "kube-public")
_OS_LABEL: Final = "kubernetes.io/os"


_UNKNOWN: Final = "an unknown namespace"
_OUTSIDE: Final = "a namespace outside the mesh"
_IGNORED: Final = "an ignored namespace"
_UNASKED: Final = "neither pod nor namespace asks for a sidecar"

BY_NAMESPACE: Final = frozenset({_UNKNOWN, _OUTSIDE, _IGNORED, _UNASKED})
"""Exemptions that another word of the namespace would end: they are true only of its newest facts."""


def exemption(pod: Pod, *, namespace: str, facts: NamespaceFacts | None, options: InjectionOptions) -> str:
    """Why this pod gets no sidecar; "" if it gets one. Raises BadAnnotationError.

    A namespace that nobody knows is not enrolled: its pods are left alone.
    """
    return _namespace_exemption(namespace, facts, options) or _pod_exemption(pod, namespace, facts)


def _namespace_exemption(namespace: str, facts: NamespaceFacts | None, options: InjectionOptions) -> str:
    if namespace in (*_NEVER, options.osm_namespace):
        return "a system namespace"
    if facts is None:
        return _UNKNOWN
    if facts.labels.get(labels.MONITORED_BY) != options.mesh_name:
        return _OUTSIDE
    if labels.IGNORE in facts.labels:
        return _IGNORED
    return ""


def _pod_exemption(pod: Pod, namespace: str, facts: NamespaceFacts | None) -> str:
    # Host network: the redirect would be the node's.
    if pod.spec.host_network:
        return "a pod on the host's network"
    # Windows has no iptables.
    if "windows" in ((pod.spec.node_selector or {}).get(_OS_LABEL), pod.spec.os and pod.spec.os.name):
        return "a Windows pod"
    asked = annotation.switch(pod.annotations, labels.INJECTION, of="the pod")
    default = annotation.switch(facts.annotations if facts else {}, labels.INJECTION, of=f"namespace {namespace}")
    if asked is False:
        return "a pod that opted out"
    if not (asked or default):
        return _UNASKED
    return "a pod that has its sidecar" if pod.has_sidecar else ""
