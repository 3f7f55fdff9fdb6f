"""Mesh -> topology: everything that decides proxies' configuration except endpoints.

A moved endpoint leaves the topology equal, so only load assignments (EDS) are built again.
"""

from dataclasses import dataclass, replace
from itertools import chain

from osm_probes.mesh.mesh import Endpoint, Mesh
from osm_probes.mesh.policy import Permission, Split
from osm_probes.xds.destination import Destination, destinations

EndpointsByDestination = dict[Destination, tuple[Endpoint, ...]]


@dataclass(frozen=True, slots=True)
class Topology:
    """The destinations of the mesh, in the order of its services, and the policies about them.

    permissions: who may call whom. In permissive mode there are none, so that a changed permission changes nothing.
    ipv6: whether a pod or a service has an IPv6 address.
    """

    destinations: tuple[Destination, ...] = ()
    permissive: bool = True
    permissions: tuple[Permission, ...] = ()
    splits: tuple[Split, ...] = ()
    egress: bool = False
    ipv6: bool = False


def topology_from_mesh(mesh: Mesh) -> tuple[Topology, EndpointsByDestination]:
    """The topology of a mesh, and the endpoints, which are not part of it."""
    endpoints_of: EndpointsByDestination = {}
    used: set[Endpoint] = set()
    for service in mesh.services:
        for destination, endpoints in destinations(service):
            # Envoy rejects a listener if two of its filter chains match the same address.
            free = tuple(endpoint for endpoint in destination.dialled if endpoint not in used)
            used.update(free)
            unique = destination if free == destination.dialled else replace(destination, dialled=free)
            endpoints_of[unique] = endpoints
    permissive = mesh.settings.permissive
    topology = Topology(
        destinations=tuple(endpoints_of),
        permissive=permissive,
        permissions=() if permissive else mesh.permissions,
        splits=mesh.splits,
        egress=mesh.settings.egress,
        ipv6=_has_ipv6(mesh, endpoints_of),
    )
    return topology, endpoints_of


def _has_ipv6(mesh: Mesh, endpoints_of: EndpointsByDestination) -> bool:
    # The pods count too: their IPv6 connections are redirected, also if all services have only IPv4 addresses.
    by_proxy = (address for proxy in mesh.proxies.values() for address in proxy.addresses)
    by_destination = (
        address
        for destination, endpoints in endpoints_of.items()
        for endpoint in (*destination.dialled, *endpoints)
        for address in endpoint.addresses
    )
    return any(":" in address for address in chain(by_destination, by_proxy))
