"""A mesh -> log lines about what it leaves out, once each: whoever wrote it should know."""

from osm_probes.foundation.logs import logger
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.policy import Ignored


class MeshWarnings:
    """What was told of the meshes so far."""

    def __init__(self) -> None:
        self._refused: frozenset[Identity] = frozenset()
        self._ignored: frozenset[Ignored] = frozenset()

    def tell(self, mesh: Mesh) -> None:
        """Tell what this mesh leaves out and the one before did not."""
        for identity in sorted(mesh.refused - self._refused):
            logger("sources").error(
                "a service account is left out of the mesh: its certificate's name could be taken for another's",
                service_account=str(identity),
            )
        for each in sorted(mesh.ignored - self._ignored):
            logger("sources").warning("a policy has no effect", policy=each.policy, reason=each.reason)
        self._refused, self._ignored = mesh.refused, mesh.ignored
