"""Endpoints -> cluster load assignments (EDS)."""

from collections.abc import Iterable

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint as EnvoyEndpoint
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from osm_probes.mesh.mesh import Endpoint
from osm_probes.snapshot.snapshot import ENDPOINTS, Resource, content_hash
from osm_probes.xds.protobuf import to_bytes


def load_assignment_resource(name: str, *, endpoints: tuple[Endpoint, ...], cluster_version: str) -> Resource:
    """The endpoints of the cluster with that name, as a resource, also if there are none.

    The version depends on the cluster's version: a changed cluster warms until its endpoints are sent again. See
    https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, "Resource warming".
    """
    body = to_bytes(load_assignment(name, endpoints=endpoints))
    return Resource(name, ENDPOINTS, body, content_hash(body, cluster_version.encode()))


def load_assignment(name: str, *, endpoints: Iterable[Endpoint]) -> ClusterLoadAssignment:
    """The endpoints of the cluster with that name: equal weights, one locality."""
    lb_endpoints = [LbEndpoint(endpoint=_envoy_endpoint(endpoint)) for endpoint in endpoints]
    localities = [LocalityLbEndpoints(lb_endpoints=lb_endpoints)] if lb_endpoints else []
    return ClusterLoadAssignment(cluster_name=name, endpoints=localities)


def _envoy_endpoint(endpoint: Endpoint) -> EnvoyEndpoint:
    # Envoy connects to the alternatives if it cannot connect to the address before, or not within 300 ms.
    return EnvoyEndpoint(
        address=socket_address(endpoint.address, endpoint.port),
        additional_addresses=[
            EnvoyEndpoint.AdditionalAddress(address=socket_address(address, endpoint.port))
            for address in endpoint.alternatives
        ],
    )


def socket_address(address: str, port: int) -> Address:
    """A TCP address."""
    return Address(socket_address=SocketAddress(address=address, port_value=port))
