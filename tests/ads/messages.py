"""xDS messages for tests: resources and requests to build, and responses decoded for comparison."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

from osm_probes.ads.session import Response, XdsSession
from osm_probes.mesh.mesh import Endpoint
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, Snapshot
from osm_probes.xds.endpoints import load_assignment_resource


def cluster(name: str, version: int = 1) -> Resource:
    """A cluster. Another `version` means another content; so it does in the other builders."""
    message = Cluster(name=name, alt_stat_name=f"v{version}")
    return Resource.of(name, CLUSTER, message.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Assignment:
    """The endpoints of a cluster, which become a resource when the version of the cluster is known."""

    name: str
    version: int

    def resource(self, cluster_version: str) -> Resource:
        """The resource as production code builds it."""
        hosts = (Endpoint("127.0.0.1", self.version),)
        return load_assignment_resource(self.name, endpoints=hosts, cluster_version=cluster_version)


def endpoints(name: str, version: int = 1) -> Assignment:
    """The endpoints of the cluster with that name."""
    return Assignment(name, version)


def listener(name: str, version: int = 1) -> Resource:
    """A listener."""
    message = Listener(name=name, stat_prefix=f"v{version}")
    return Resource.of(name, LISTENER, message.SerializeToString(deterministic=True))


def routes(name: str, version: int = 1) -> Resource:
    """A route configuration."""
    message = RouteConfiguration(name=name, internal_only_headers=[f"v{version}"])
    return Resource.of(name, ROUTES, message.SerializeToString(deterministic=True))


def secret(name: str, version: int = 1) -> Resource:
    """A secret."""
    message = Secret(name=name)
    message.generic_secret.secret.inline_string = f"v{version}"
    return Resource.of(name, SECRET, message.SerializeToString(deterministic=True))


def snapshot(*parts: Resource | Assignment) -> Snapshot:
    """A snapshot of these resources."""
    return snapshot_of(parts)


def snapshot_of(parts: Iterable[Resource | Assignment]) -> Snapshot:
    """A snapshot of these resources. Endpoints get the version of the cluster with their name, if there is one."""
    resources, assignments = [], []
    for part in parts:
        if isinstance(part, Assignment):
            assignments.append(part)
        else:
            resources.append(part)
    versions = {resource.name: resource.version for resource in resources if resource.type_url == CLUSTER}
    return Snapshot.of(
        [*resources, *(assignment.resource(versions.get(assignment.name, "")) for assignment in assignments)]
    )


def sotw_request(
    type_url: str, *names: str, nonce: str = "", version: str = "", error: str | None = None, node: str = ""
) -> bytes:
    """A state-of-the-world request. With `error` it is a NACK."""
    message = DiscoveryRequest(type_url=type_url, resource_names=names, response_nonce=nonce, version_info=version)
    if error is not None:
        message.error_detail.message = error
    if node:
        message.node.id = node
    return message.SerializeToString()


def delta_request(
    type_url: str,
    *subscribe: str,
    unsubscribe: Sequence[str] = (),
    nonce: str = "",
    error: str | None = None,
    initial_versions: dict[str, str] | None = None,
) -> bytes:
    """An incremental request. With `error` it is a NACK."""
    message = DeltaDiscoveryRequest(
        type_url=type_url,
        resource_names_subscribe=subscribe,
        resource_names_unsubscribe=unsubscribe,
        response_nonce=nonce,
        initial_resource_versions=initial_versions or {},
    )
    if error is not None:
        message.error_detail.message = error
    return message.SerializeToString()


_Named: TypeAlias = Cluster | ClusterLoadAssignment | Listener | RouteConfiguration | Secret
_MESSAGES: dict[str, type[_Named]] = {
    CLUSTER: Cluster,
    ENDPOINTS: ClusterLoadAssignment,
    LISTENER: Listener,
    ROUTES: RouteConfiguration,
    SECRET: Secret,
}


def _name(type_url: str, body: bytes) -> str:
    message = _MESSAGES[type_url]()
    message.ParseFromString(body)
    return message.cluster_name if isinstance(message, ClusterLoadAssignment) else message.name


class SotwResponse:
    """A decoded state-of-the-world response."""

    def __init__(self, body: bytes) -> None:
        message = DiscoveryResponse.FromString(body)
        self.type_url, self.version, self.nonce = message.type_url, message.version_info, message.nonce
        self.bodies = {_name(resource.type_url, resource.value): resource.value for resource in message.resources}
        assert len(self.bodies) == len(message.resources)
        assert all(resource.type_url == self.type_url for resource in message.resources)
        self.names = sorted(self.bodies)


class DeltaResponse:
    """A decoded incremental response."""

    def __init__(self, body: bytes) -> None:
        message = DeltaDiscoveryResponse.FromString(body)
        self.type_url, self.version, self.nonce = message.type_url, message.system_version_info, message.nonce
        self.bodies = {resource.name: resource.resource.value for resource in message.resources}
        self.versions = {resource.name: resource.version for resource in message.resources}
        assert len(self.bodies) == len(message.resources)
        for resource in message.resources:
            assert _name(resource.resource.type_url, resource.resource.value) == resource.name
        self.names = sorted(self.bodies)
        self.removed = sorted(message.removed_resources)


def sotw_response(response: Response | None) -> SotwResponse:
    """Decode a state-of-the-world response. Fails if there is none."""
    assert response is not None
    decoded = SotwResponse(response.body)
    assert (decoded.type_url, decoded.version) == (response.type_url, response.version)
    return decoded


def delta_response(response: Response | None) -> DeltaResponse:
    """Decode an incremental response. Fails if there is none."""
    assert response is not None
    decoded = DeltaResponse(response.body)
    assert (decoded.type_url, decoded.version) == (response.type_url, response.version)
    return decoded


def nothing_to_send(session: XdsSession, now: Snapshot) -> bool:
    """True if the session has no response for this snapshot."""
    return session.next_response(now) is None
