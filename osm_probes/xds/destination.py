"""Service -> destinations: one for each port of a service, as sidecars see it."""

from collections.abc import Iterator
from dataclasses import dataclass

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Endpoint, Protocol, Service, ServicePort


@dataclass(frozen=True, slots=True)
class Destination:
    """One port of one service: all that decides its resources, except the load assignment (EDS).

    number: the port that clients connect to. targets: the ports on the pods. dialled: the addresses that clients
    connect to before the redirect: the cluster IPs, or the pods' own addresses if the service is headless. identities:
    those of the service's pods.
    """

    namespace: str
    service: str
    number: int
    protocol: Protocol
    targets: tuple[int, ...]
    dialled: tuple[Endpoint, ...]
    headless: bool
    identities: tuple[Identity, ...]

    def __hash__(self) -> int:
        # These are different for nearly all destinations, and the others cost ten times as much.
        return hash((self.namespace, self.service, self.number))


@dataclass(frozen=True, slots=True)
class ClusterWeight:
    """A cluster, and its weight among the clusters of one destination (Envoy's WeightedCluster)."""

    cluster: str
    weight: int


def single_cluster(cluster: str) -> tuple[ClusterWeight]:
    """All traffic to one cluster."""
    return (ClusterWeight(cluster, 1),)


def destinations(service: Service) -> Iterator[tuple[Destination, tuple[Endpoint, ...]]]:
    """The destinations of a service, each with its endpoints."""
    for port in service.ports:
        yield _destination(service, port), port.endpoints


def _destination(service: Service, port: ServicePort) -> Destination:
    headless = not service.addresses
    if headless:
        at_pods = (Endpoint(address, found.port) for found in port.endpoints for address in found.addresses)
        dialled = tuple(dict.fromkeys(at_pods))
    else:
        dialled = tuple(Endpoint(address, port.number) for address in service.addresses)
    return Destination(
        service.namespace,
        service.name,
        port.number,
        port.protocol,
        targets=tuple(sorted({port.target, *(endpoint.port for endpoint in port.endpoints)})),
        dialled=dialled,
        headless=headless,
        identities=service.identities,
    )
