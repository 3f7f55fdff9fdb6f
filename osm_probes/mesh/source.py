"""The interface of every source of a mesh."""

import enum
from typing import Protocol

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.health.backlog import Backlog
from osm_probes.mesh.mesh import Mesh


class Step(enum.Enum):
    """A step of a change on its way to the proxies: a key of `MeshSource.updates`."""

    LOOKING = "the mesh folder does not answer"
    SEEN = "a change is not read"
    READING = "a change is being read"
    READ = "nothing is built from a change"
    BUILDING = "the configuration of an identity is being built"


class MeshSource(Protocol):
    """A source of the mesh, such as a folder or a cluster.

    mesh: the newest one, None until the first complete read. problem: why it cannot be read now; false if it can.
    updates: the changes on their way to the proxies. The source adds each change as soon as it notices it, and leaves
    it there as READ when `mesh` has it; the publisher takes it on.
    """

    mesh: Latest[Mesh | None]
    problem: Latest[Problem]
    updates: Backlog
