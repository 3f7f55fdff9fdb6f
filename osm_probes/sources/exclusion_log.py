"""Mesh -> log lines about the service accounts and policies that it leaves out, one line for each."""

from osm_probes.foundation.logs import logger
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.policy import IgnoredPolicy


class ExclusionLog:
    """Logs what a mesh leaves out, for its author. What the previous mesh left out too is not logged again."""

    def __init__(self) -> None:
        self._identities: frozenset[Identity] = frozenset()
        self._policies: frozenset[IgnoredPolicy] = frozenset()

    def update(self, mesh: Mesh) -> None:
        """Log what this mesh leaves out and the previous one did not."""
        for identity in sorted(mesh.ambiguous_identities - self._identities):
            logger("sources").error(
                "a service account is left out of the mesh: its certificate's name could be mistaken for another's",
                service_account=str(identity),
            )
        for ignored in sorted(mesh.ignored_policies - self._policies):
            logger("sources").warning("a policy has no effect", policy=ignored.policy, reason=ignored.reason)
        self._identities, self._policies = mesh.ambiguous_identities, mesh.ignored_policies
