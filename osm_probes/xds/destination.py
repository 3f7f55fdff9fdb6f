"""Mesh -> destinations: each port of each service as sidecars see it, but for its endpoints."""

from collections.abc import Iterator
from dataclasses import dataclass

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Endpoint, Protocol, Service, ServicePort


@dataclass(frozen=True, slots=True)
class Destination:
    """One port of one service: what decides all its resources but the assignment of endpoints.

    number: what callers dial. targets: the ports on the pods. dialled: where calls go before the mesh takes them: the
    cluster IPs, or the pods themselves if the service is headless. identities: who answers.
    """

    namespace: str
    service: str
    number: int
    protocol: Protocol
    targets: tuple[int, ...]
    dialled: tuple[Endpoint, ...]
    headless: bool
    identities: tuple[Identity, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """A cluster and its weight among those that share the calls to a destination."""

    cluster: str
    weight: int


def whole(cluster: str) -> tuple[Share]:
    """All calls to one cluster."""
    return (Share(cluster, 1),)


def destinations(service: Service) -> Iterator[tuple[Destination, tuple[Endpoint, ...]]]:
    """The destinations of a service, each with its endpoints."""
    for port in service.ports:
        yield _destination(service, port), port.endpoints


def _destination(service: Service, port: ServicePort) -> Destination:
    headless = not service.addresses
    dialled = port.endpoints if headless else tuple(Endpoint(address, port.number) for address in service.addresses)
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
