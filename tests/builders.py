"""Builders of test data: identities, services, meshes and certificates."""

from datetime import timedelta
from functools import cache

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Endpoint, Mesh, Protocol, Proxy, Service, ServicePort
from osm_probes.pki.authority import Authority
from osm_probes.xds.secrets import Secrets


def identity(name: str = "bookstore") -> Identity:
    """The identity of a service account in a namespace of the same name."""
    return Identity(namespace=name, service_account=name)


def service(name: str = "bookstore", *, pods: int = 1, number: int = 80, protocol: Protocol = Protocol.HTTP) -> Service:
    """A service in a namespace of the same name. pods: the number of its pods, on port 14001."""
    endpoints = tuple(Endpoint(f"10.42.0.{index + 11}", 14001) for index in range(pods))
    port = ServicePort(number=number, target=14001, protocol=protocol, endpoints=endpoints)
    return Service(name, name, (port,), addresses=("10.96.0.11",), identities=(identity(name),))


def mesh(*services: Service) -> Mesh:
    """A mesh of these services, with one proxy for each identity."""
    identities = sorted({owner for one in services for owner in one.identities})
    proxies = (
        Proxy(f"00000000-0000-0000-0000-{index:012d}", owner.namespace, f"{owner.service_account}-0", owner)
        for index, owner in enumerate(identities)
    )
    return Mesh(
        services=tuple(sorted(services, key=lambda one: (one.namespace, one.name))),
        proxies={(proxy.uuid, proxy.identity): proxy for proxy in proxies},
        identities=frozenset(identities),
    )


@cache
def authority() -> Authority:
    """The certificate authority of all tests."""
    return Authority.create("test")


def secrets(name: str = "bookstore") -> Secrets:
    """The TLS material of a sidecar with that identity, with a new certificate at each call."""
    certificate = authority().issue(identity(name).principal("cluster.local"), validity=timedelta(hours=1))
    return Secrets(certificate.chain_pem, certificate.key_pem, authority().root_pem)
