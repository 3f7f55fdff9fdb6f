"""Checks `Deployment …` and `Versions`: each Deployment has its ready pods, and all components have one version."""

from collections.abc import Mapping, Sequence

from osm_probes.cli.objects import Deployment, Pod
from osm_probes.cli.verify.result import REINSTALL, Result, failure, success, warning


def check_deployment(
    app: str, deployment: Deployment | None, pods: Sequence[Pod], *, creation_errors: Sequence[str]
) -> Result:
    """Check that a Deployment exists and has its ready pods. `creation_errors`: why its pods could not be created."""
    name = f"Deployment {app}"
    if deployment is None:
        return failure(name, "it does not exist", suggestions=[REINSTALL])
    replicas = deployment.spec.replicas
    if not replicas:
        scale = f"kubectl scale -n {deployment.metadata.namespace} deployment {app} --replicas 1"
        return failure(name, "it is scaled to 0 replicas", suggestions=[scale])
    ready = sum(map(_is_ready, pods))
    if ready >= replicas:
        return success(name)
    reasons = (f"{ready} of {replicas} pods are ready", *creation_errors)
    return warning(name, *reasons) if ready else failure(name, *reasons)


def _is_ready(pod: Pod) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)


def check_versions(versions: Mapping[str, str]) -> Result:
    """Check that all components have the same version. `versions`: by component; empty if unknown."""
    known = {component: version.removeprefix("v") for component, version in versions.items() if version}
    if len(set(known.values())) <= 1:
        return success("Versions")
    reason = ", ".join(f"{component} is {version}" for component, version in known.items())
    return warning("Versions", reason, suggestions=["upgrade the components with an older version"])
