"""Messages of xDS for tests: resources, requests and what a response says."""

from collections.abc import Sequence
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
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, Snapshot


def cluster(name: str, version: int = 1) -> Resource:
    """A cluster; another version is another content."""
    message = Cluster(name=name, alt_stat_name=f"v{version}")
    return Resource.of(name, CLUSTER, message.SerializeToString(deterministic=True))


def endpoints(name: str, version: int = 1) -> Resource:
    """The endpoints of the cluster of that name."""
    message = ClusterLoadAssignment(cluster_name=name)
    message.policy.overprovisioning_factor.value = version
    return Resource.of(name, ENDPOINTS, message.SerializeToString(deterministic=True))


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


def snapshot(*resources: Resource) -> Snapshot:
    """A snapshot of these."""
    return Snapshot.of(resources)


def asks(
    type_url: str, *names: str, nonce: str = "", version: str = "", error: str | None = None, node: str = ""
) -> bytes:
    """A state-of-the-world request; `error` makes it a NACK."""
    message = DiscoveryRequest(type_url=type_url, resource_names=names, response_nonce=nonce, version_info=version)
    if error is not None:
        message.error_detail.message = error
    if node:
        message.node.id = node
    return message.SerializeToString()


def changes(
    type_url: str,
    *subscribe: str,
    unsubscribe: Sequence[str] = (),
    nonce: str = "",
    error: str | None = None,
    had: dict[str, str] | None = None,
) -> bytes:
    """An incremental request."""
    message = DeltaDiscoveryRequest(
        type_url=type_url,
        resource_names_subscribe=subscribe,
        resource_names_unsubscribe=unsubscribe,
        response_nonce=nonce,
        initial_resource_versions=had or {},
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


class Sotw:
    """What a state-of-the-world response says."""

    def __init__(self, body: bytes) -> None:
        message = DiscoveryResponse.FromString(body)
        self.type_url, self.version, self.nonce = message.type_url, message.version_info, message.nonce
        self.bodies = {_name(each.type_url, each.value): each.value for each in message.resources}
        assert len(self.bodies) == len(message.resources)
        assert all(each.type_url == self.type_url for each in message.resources)
        self.names = sorted(self.bodies)


class Delta:
    """What an incremental response says."""

    def __init__(self, body: bytes) -> None:
        message = DeltaDiscoveryResponse.FromString(body)
        self.type_url, self.version, self.nonce = message.type_url, message.system_version_info, message.nonce
        self.bodies = {each.name: each.resource.value for each in message.resources}
        self.versions = {each.name: each.version for each in message.resources}
        assert len(self.bodies) == len(message.resources)
        assert all(_name(each.resource.type_url, each.resource.value) == each.name for each in message.resources)
        self.names = sorted(self.bodies)
        self.removed = sorted(message.removed_resources)


def said(response: Response | None) -> Sotw:
    """The response, which there must be, in the state-of-the-world form."""
    assert response is not None
    answer = Sotw(response.body)
    assert (answer.type_url, answer.version) == (response.type_url, response.version)
    return answer


def told(response: Response | None) -> Delta:
    """The response, which there must be, in the incremental form."""
    assert response is not None
    answer = Delta(response.body)
    assert (answer.type_url, answer.version) == (response.type_url, response.version)
    return answer


def quiet(session: XdsSession, now: Snapshot) -> bool:
    """True if there is nothing to say."""
    return session.answer(now) is None
