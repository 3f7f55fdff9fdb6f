"""Check `IPv6 rules`: a pod with a sidecar and an IPv6 address redirects its IPv6 connections too.

Pods that were injected by an earlier version have only IPv4 rules: every caller reaches the application by IPv6,
without a check of certificates and policies.
"""

from collections.abc import Sequence
from typing import Final

from osm_probes.admission.redirect import IPV6_RESTORE
from osm_probes.admission.sidecar import INIT_NAME
from osm_probes.cli.objects import Pod
from osm_probes.cli.verify.result import Result, success, unknown, warning
from osm_probes.kube.errors import KubernetesError

_NAME: Final = "IPv6 rules"
_MAX_PODS: Final = 20


def check_ipv6_rules(pods: Sequence[Pod] | KubernetesError) -> Result:
    """Check pods with sidecars; the warning names at most 20 of them."""
    if isinstance(pods, KubernetesError):
        return unknown(_NAME, pods.explain("list pods"))
    found = sorted(filter(_bypasses_sidecar, pods), key=_full_name)
    if not found:
        return success(_NAME)
    reasons = [f"{_full_name(pod)}: no policy applies to connections to {_ipv6_address(pod)}" for pod in found]
    if len(found) > _MAX_PODS:
        reasons[_MAX_PODS:] = [f"and {len(found) - _MAX_PODS} more pods"]
    namespaces = sorted({pod.metadata.namespace for pod in found[:_MAX_PODS]})
    return warning(
        _NAME,
        *reasons,
        suggestions=[f"create these pods again: kubectl rollout restart deployment -n {name}" for name in namespaces],
    )


def _bypasses_sidecar(pod: Pod) -> bool:
    init = [container for container in pod.spec.init_containers if container.name == INIT_NAME]
    has_rules = any(IPV6_RESTORE in argument for container in init for argument in container.args)
    return bool(init and not has_rules and _ipv6_address(pod) and not pod.inactive_reason)


def _ipv6_address(pod: Pod) -> str:
    return next((found.ip for found in pod.status.pod_ips if ":" in found.ip), "")


def _full_name(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"
