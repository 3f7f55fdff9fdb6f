"""Vocabulary: where a mesh comes from, whatever reads it."""

from typing import Protocol

from osm_probes.foundation.latest import Latest
from osm_probes.mesh.mesh import Mesh


class MeshSource(Protocol):
    """The newest mesh, None until it has been read once; `problem` says why it cannot be read now, "" if it can."""

    mesh: Latest[Mesh | None]
    problem: Latest[str]
