"""Check `Lease holder`: one of the controllers is the leader, which manages the bootstrap Secrets of all sidecars.

The leader's work can wait, so a missing leader is a warning and not a failure.
"""

from collections.abc import Sequence
from typing import Final

from osm_probes.cli.objects import Pod
from osm_probes.cli.verify.result import Result, success, unknown, warning
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.mesh.names import CONTROLLER

_NAME: Final = "Lease holder"


def check_lease(holder: str | KubernetesError, controllers: Sequence[Pod]) -> Result:
    """Check that a controller's pod holds the Lease. `holder`: its holderIdentity; empty if there is none."""
    if isinstance(holder, NotFoundError):
        reason = f"the Lease {CONTROLLER} does not exist: no controller manages the bootstrap Secrets of sidecars"
        return warning(_NAME, reason)
    if isinstance(holder, KubernetesError):
        return unknown(_NAME, holder.explain("get leases"))
    if any(holder.startswith(pod.metadata.name) for pod in controllers):
        return success(_NAME)
    return warning(_NAME, f"{holder} holds it, but is not a pod of {CONTROLLER}" if holder else "no pod holds it")
