"""Pod -> accepted, or an error that says what to change: names by Kubernetes' rules, and limits of size.

Kubernetes validates a pod only after the webhook, so the names may be anything. It has no limits for most sizes. The
limits here are far above what a node can run, and keep the cost of one review low.
"""

from typing import Final

from osm_probes.admission.pod import InjectionError, Pod
from osm_probes.foundation.text import excerpt
from osm_probes.mesh.names import is_dns_subdomain

CONTAINER_LIMIT: Final = 250
PORT_LIMIT: Final = 5000
VOLUME_LIMIT: Final = 1000
PROBE_LIMIT: Final = 500


class UnacceptablePodError(InjectionError):
    """The pod has a name that Kubernetes would refuse, or is too large for a sidecar; the text says what to change."""


def check_pod(pod: Pod, *, namespace: str) -> None:
    """Check a pod before it is patched and anything is stored for it. Raises UnacceptablePodError."""
    _check_names(pod, namespace)
    containers = [*pod.spec.containers, *pod.init_containers]
    probes = sum(
        probe is not None
        for container in containers
        for probe in (container.liveness_probe, container.readiness_probe, container.startup_probe)
    )
    _check_size("containers", len(containers) + len(pod.spec.ephemeral_containers or ()), CONTAINER_LIMIT)
    _check_size("container ports", sum(len(container.ports or ()) for container in containers), PORT_LIMIT)
    _check_size("probes", probes, PROBE_LIMIT)
    _check_size("volumes", len(pod.spec.volumes or ()), VOLUME_LIMIT)


def _check_names(pod: Pod, namespace: str) -> None:
    generate_name = pod.metadata.generate_name
    names = {
        "metadata.name": pod.metadata.name,
        # Kubernetes appends random characters, so it may end with a dash.
        "metadata.generateName": generate_name and f"{generate_name}x",
        "spec.serviceAccountName": pod.spec.service_account_name,
    }
    if not (pod.metadata.name or generate_name):
        raise UnacceptablePodError("the pod has no name: set metadata.name or metadata.generateName")
    for field, name in names.items():
        if name and not is_dns_subdomain(name):
            raise UnacceptablePodError(
                f"{field} of the pod is {excerpt(name)}, which is not a lower-case DNS name of at most 253 characters"
            )
    if pod.metadata.namespace not in (None, "", namespace):
        where = excerpt(pod.metadata.namespace or "")
        raise UnacceptablePodError(f"metadata.namespace of the pod is {where}, but it is created in {namespace}")


def _check_size(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise UnacceptablePodError(f"the pod has {count} {what}; a pod with a sidecar may have at most {limit}")
