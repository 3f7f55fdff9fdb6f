"""The interface of every source of a mesh."""

from typing import Protocol

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.mesh.mesh import Mesh


class MeshSource(Protocol):
    """A source of the mesh, such as a folder or a cluster.

    mesh: the newest one, None until the first complete read. problem: why it cannot be read now; false if it can.
    """

    mesh: Latest[Mesh | None]
    problem: Latest[Problem]
