"""Mesh -> outline: all that decides proxies' configuration but endpoints, so that a moved endpoint leaves it equal."""

from dataclasses import dataclass, replace

from osm_probes.mesh.mesh import Endpoint, Mesh
from osm_probes.mesh.policy import Permission, Split
from osm_probes.xds.destination import Destination, destinations


@dataclass(frozen=True, slots=True)
class Outline:
    """What can be called in the mesh, in the order of its services, by whom, and how calls out of it are treated.

    `permissions` decide who calls whom. Where it is permissive there are none, so that changing them changes nothing.
    """

    destinations: tuple[Destination, ...] = ()
    permissive: bool = True
    permissions: tuple[Permission, ...] = ()
    splits: tuple[Split, ...] = ()
    egress: bool = False
    ipv6: bool = False


def outline(mesh: Mesh) -> tuple[Outline, dict[Destination, tuple[Endpoint, ...]]]:
    """The outline of a mesh, and the endpoints that it leaves out."""
    found: dict[Destination, tuple[Endpoint, ...]] = {}
    claimed: set[Endpoint] = set()
    for service in mesh.services:
        for destination, endpoints in destinations(service):
            # Envoy refuses a listener as a whole if two of its chains are for one address.
            free = tuple(each for each in destination.dialled if each not in claimed)
            claimed.update(free)
            alone = destination if free == destination.dialled else replace(destination, dialled=free)
            found[alone] = endpoints
    permissive = mesh.settings.permissive
    permissions = () if permissive else mesh.permissions
    made = Outline(tuple(found), permissive, permissions, mesh.splits, mesh.settings.egress, _has_ipv6(found))
    return made, found


def _has_ipv6(found: dict[Destination, tuple[Endpoint, ...]]) -> bool:
    return any(":" in each.address for to, endpoints in found.items() for each in (*to.dialled, *endpoints))
