"""Mesh -> outline: all that decides proxies' configuration but endpoints, so that a moved endpoint leaves it equal."""

from dataclasses import dataclass, replace

from osm_probes.mesh.mesh import Endpoint, Mesh
from osm_probes.xds.destination import Destination, destinations


@dataclass(frozen=True, slots=True)
class Outline:
    """What may be called in the mesh, in the order of its services, and how calls out of it are treated."""

    destinations: tuple[Destination, ...] = ()
    egress: bool = False
    ipv6: bool = False


def outline(mesh: Mesh) -> tuple[Outline, dict[Destination, tuple[Endpoint, ...]]]:
    """The outline of a mesh, and the endpoints that it leaves out.

    With permissive mode off there is no policy yet that would allow a call: no destinations, so no chain, neither
    outbound nor inbound, and every call is refused.
    """
    found: dict[Destination, tuple[Endpoint, ...]] = {}
    claimed: set[Endpoint] = set()
    for service in mesh.services if mesh.settings.permissive else ():
        for destination, endpoints in destinations(service):
            # Envoy refuses a listener as a whole if two of its chains are for one address.
            free = tuple(each for each in destination.dialled if each not in claimed)
            claimed.update(free)
            alone = destination if free == destination.dialled else replace(destination, dialled=free)
            found[alone] = endpoints
    return Outline(tuple(found), mesh.settings.egress, _has_ipv6(found)), found


def _has_ipv6(found: dict[Destination, tuple[Endpoint, ...]]) -> bool:
    return any(":" in each.address for to, endpoints in found.items() for each in (*to.dialled, *endpoints))
