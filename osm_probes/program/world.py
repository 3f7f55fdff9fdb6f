"""What a program knows of outside: the mesh, who signs its certificates, and the cluster, if there is one."""

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from osm_probes.configuration.shared import Shared
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.mesh.mesh import Mesh
from osm_probes.pki.trust import Trust

if TYPE_CHECKING:  # a client of the Kubernetes API costs 12 MB and a quarter of the start: only where there is one
    from osm_probes.program.cluster import Cluster


class UnknownCertificateManagerError(OsmError):
    """A certificate manager is asked for that this program does not have."""


class NoMeshFolderError(OsmError):
    """--mesh-dir names no folder."""


class Reads(enum.Enum):
    """What of a cluster's objects a program needs: the whole mesh, or its namespaces and settings alone."""

    WHOLE_MESH = enum.auto()
    NAMESPACES = enum.auto()


class MeshSource(Protocol):
    """Where the mesh is read: None until it was read once; `problem` says what is wrong now, "" if nothing is."""

    mesh: Latest[Mesh | None]
    problem: Latest[str]


@dataclass(frozen=True, slots=True)
class World:
    """The mesh, being watched, who signs its certificates and whom its peers trust, the cluster where there is one.

    authority_problem: what is wrong with where the authority is kept; it does not keep the program from its work.
    """

    trust: Latest[Trust]
    source: MeshSource
    cluster: "Cluster | None" = None
    authority_problem: Latest[str] = field(default_factory=lambda: Latest(""))


def authority_name(shared: Shared) -> str:
    """The common name of a new authority."""
    return f"{shared.mesh_name}-ca"
