"""Endpoints -> cluster load assignments: where a destination is."""

from collections.abc import Iterable

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint as EnvoyEndpoint
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from osm_probes.mesh.mesh import Endpoint
from osm_probes.snapshot.snapshot import ENDPOINTS, Resource, content_hash
from osm_probes.xds.wire import to_bytes


def assignment_resource(name: str, *, endpoints: tuple[Endpoint, ...], cluster_version: str) -> Resource:
    """The endpoints of the cluster of that name; none is an answer too.

    The version changes with the cluster's: a cluster that changed warms until its endpoints are sent again:
    https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, "Resource warming".
    """
    body = to_bytes(assignment(name, endpoints=endpoints))
    return Resource(name, ENDPOINTS, body, content_hash(body, cluster_version.encode()))


def assignment(name: str, *, endpoints: Iterable[Endpoint]) -> ClusterLoadAssignment:
    """All endpoints alike, in one locality."""
    there = [LbEndpoint(endpoint=EnvoyEndpoint(address=socket_address(*_pair(each)))) for each in endpoints]
    localities = [LocalityLbEndpoints(lb_endpoints=there)] if there else []
    return ClusterLoadAssignment(cluster_name=name, endpoints=localities)


def socket_address(address: str, port: int) -> Address:
    """A TCP address."""
    return Address(socket_address=SocketAddress(address=address, port_value=port))


def _pair(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.address, endpoint.port
