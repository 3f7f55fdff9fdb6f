"""Pod and namespace -> does it get a sidecar, and if not, why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from osm_probes.admission import annotation
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.pod import Pod

_NEVER: Final = ("kube-system", "kube-public")
_OS_LABEL: Final = "kubernetes.io/os"


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """What a namespace says about injection."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class Namespaces(Protocol):
    """Where namespaces are looked up: None = there is none of this name. Raises OsmError where that cannot be known."""

    async def known(self, name: str) -> NamespaceFacts | None:
        """The namespace as it was heard of last, at once."""

    async def newest(self, name: str) -> NamespaceFacts | None:
        """The namespace as it is at this moment; somebody may be asked."""


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
    if facts.labels.get(annotation.MONITORED_BY) != options.mesh_name:
        return _OUTSIDE
    if annotation.IGNORE in facts.labels:
        return _IGNORED
    return ""


def _pod_exemption(pod: Pod, namespace: str, facts: NamespaceFacts | None) -> str:
    # Host network: the redirect would be the node's.
    if pod.spec.host_network:
        return "a pod on the host's network"
    # Windows has no iptables.
    if "windows" in ((pod.spec.node_selector or {}).get(_OS_LABEL), pod.spec.os and pod.spec.os.name):
        return "a Windows pod"
    asked = annotation.switch(pod.annotations, annotation.INJECTION, of="the pod")
    default = annotation.switch(facts.annotations if facts else {}, annotation.INJECTION, of=f"namespace {namespace}")
    if asked is False:
        return "a pod that opted out"
    if not (asked or default):
        return _UNASKED
    return "a pod that has its sidecar" if pod.has_sidecar else ""
