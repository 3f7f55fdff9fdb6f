"""Kubernetes objects -> mesh, without I/O; the same for every source."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeVar

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import MONITORED_BY, PREFIX, PROXY_UUID, PROXY_UUID_PATTERN, SERVICE_NAME
from osm_probes.mesh.mesh import Endpoint, Mesh, NamespaceMetadata, Protocol, Proxy, Service, ServicePort
from osm_probes.mesh.settings import Settings
from osm_probes.sources.objects import (
    EndpointPort,
    Endpoints,
    EndpointSlice,
    MeshConfig,
    MeshObject,
    Namespace,
    ObjectReference,
    Pod,
    ServiceAccount,
    ServiceObject,
    ServicePortSpec,
)
from osm_probes.sources.policies import policies_from_objects
from osm_probes.sources.schema import ObjectKey

T = TypeVar("T")

_HTTP_PROTOCOLS: Final = {"http", "http2", "grpc", "h2c", "ws"}


def mesh_from_objects(objects: Iterable[MeshObject], *, mesh_name: str) -> Mesh:
    """The mesh that these objects describe, in any order.

    Only namespaces with the label openservicemesh.io/monitored-by=<mesh name> count, and the objects in them, except
    pods without the label osm-proxy-uuid. Pods whose label is a uuid are proxies; if two have the same uuid and service
    account, the first by name counts. Service accounts with ambiguous names, and their pods, are left out.
    """
    ordered = sorted(objects, key=_key)
    index = _build_index(ordered, mesh_name=mesh_name)
    policies = policies_from_objects(found for found in ordered if found.metadata.namespace in index.namespaces)
    proxies = sorted(_proxies(index), key=lambda proxy: (proxy.uuid, proxy.identity))
    return Mesh(
        services=tuple(_service(found, index) for found in index.services),
        proxies={(proxy.uuid, proxy.identity): proxy for proxy in proxies},
        identities=frozenset(index.identities),
        ambiguous_identities=frozenset(index.ambiguous_identities),
        namespaces=index.namespaces,
        settings=_settings(index.config),
        permissions=policies.permissions,
        splits=policies.splits,
        ignored_policies=policies.ignored_policies,
    )


@dataclass(slots=True)
class _ObjectIndex:
    """The objects of the mesh's namespaces, by the keys that other objects refer to them with."""

    services: list[ServiceObject] = field(default_factory=list)
    slices: dict[ObjectKey, list[EndpointSlice]] = field(default_factory=lambda: defaultdict(list))
    endpoints: dict[ObjectKey, Endpoints] = field(default_factory=dict)
    pods: dict[ObjectKey, Pod] = field(default_factory=dict)
    pods_by_namespace: dict[str, list[Pod]] = field(default_factory=lambda: defaultdict(list))
    pods_by_address: dict[str, Pod] = field(default_factory=dict)
    identities: set[Identity] = field(default_factory=set)
    ambiguous_identities: set[Identity] = field(default_factory=set)
    namespaces: dict[str, NamespaceMetadata] = field(default_factory=dict)
    config: MeshConfig | None = None


@dataclass(frozen=True, slots=True)
class _ReadyAddress:
    """A ready address of a service, and its pod if it is known.

    ports: those of the address; None means the target ports of the service.
    """

    address: str
    pod: Pod | None
    ports: tuple[EndpointPort, ...] | None = None


def _key(found: MeshObject) -> ObjectKey:
    return found.metadata.namespace, found.metadata.name


def _build_index(objects: list[MeshObject], *, mesh_name: str) -> _ObjectIndex:
    index = _ObjectIndex()
    for found in objects:
        if isinstance(found, Namespace) and found.metadata.labels.get(MONITORED_BY) == mesh_name:
            metadata = found.metadata
            index.namespaces[metadata.name] = NamespaceMetadata(
                _mesh_entries(metadata.labels), _mesh_entries(metadata.annotations)
            )
    for found in objects:
        if isinstance(found, MeshConfig):
            index.config = index.config or found
        elif found.metadata.namespace in index.namespaces:
            _add_to_index(found, index)
    return index


def _mesh_entries(entries: Mapping[str, str]) -> dict[str, str]:
    """The labels or annotations of the mesh, without those of Kubernetes and others, which decide nothing."""
    return {key: value for key, value in entries.items() if key.startswith(PREFIX)}


def _add_to_index(found: MeshObject, index: _ObjectIndex) -> None:
    key = _key(found)
    match found:
        case ServiceAccount() if Identity(*key).ambiguous:
            index.ambiguous_identities.add(Identity(*key))
        case Pod() if _identity(found).ambiguous:
            index.ambiguous_identities.add(_identity(found))
        case ServiceObject() if found.spec.type != "ExternalName":
            index.services.append(found)
        case EndpointSlice() if SERVICE_NAME in found.metadata.labels:
            index.slices[key[0], found.metadata.labels[SERVICE_NAME]].append(found)
        case Endpoints():
            index.endpoints[key] = found
        case ServiceAccount():
            index.identities.add(Identity(*key))
        # A pod without a sidecar does not belong to the mesh, even if it is an endpoint of a service. The address of a
        # finished pod may already belong to another pod.
        case Pod() if PROXY_UUID in found.metadata.labels and found.status.phase not in {"Succeeded", "Failed"}:
            index.pods[key] = found
            index.pods_by_namespace[key[0]].append(found)
            index.identities.add(_identity(found))
            # Pods on the host network share the node's address.
            if not found.spec.host_network:
                index.pods_by_address.update(dict.fromkeys(_addresses(found), found))
        case _:
            pass


def _identity(pod: Pod) -> Identity:
    return Identity(pod.metadata.namespace, pod.spec.service_account_name)


def _addresses(pod: Pod) -> list[str]:
    primary = [str(pod.status.pod_ip)] if pod.status.pod_ip else []
    return list(dict.fromkeys([*primary, *(str(address.ip) for address in pod.status.pod_ips)]))


def _proxies(index: _ObjectIndex) -> Iterator[Proxy]:
    seen = set()
    for pod in index.pods.values():
        uuid = pod.metadata.labels.get(PROXY_UUID, "")
        # If the label is not a uuid, no certificate can name the proxy.
        if PROXY_UUID_PATTERN.match(uuid) and (uuid, _identity(pod)) not in seen:
            seen.add((uuid, _identity(pod)))
            addresses = tuple(_addresses(pod))
            yield Proxy(uuid, pod.metadata.namespace, pod.metadata.name, _identity(pod), addresses)


def _service(found: ServiceObject, index: _ObjectIndex) -> Service:
    namespace, name = _key(found)
    selected = _selected_pods(found, index)
    ready, endpoint_pods = _ready_addresses(found, selected, index)
    addresses = [found.spec.cluster_ip, *found.spec.cluster_ips]
    ports = (_port(port, ready, selected, index) for port in found.spec.ports if port.protocol == "TCP")
    return Service(
        namespace,
        name,
        tuple(sorted(ports, key=lambda port: port.number)),
        addresses=tuple(sorted({str(address) for address in addresses if address not in {"", "None"}})),
        # Pods that are not ready yet count too: their sidecars must know the service before the first call arrives.
        identities=tuple(sorted({_identity(pod) for pod in (*selected, *endpoint_pods)})),
    )


def _selected_pods(found: ServiceObject, index: _ObjectIndex) -> list[Pod]:
    selector = found.spec.selector.items()
    pods = index.pods_by_namespace[found.metadata.namespace]
    return [pod for pod in pods if selector and selector <= pod.metadata.labels.items()]


def _ready_addresses(
    found: ServiceObject, selected: list[Pod], index: _ObjectIndex
) -> tuple[list[_ReadyAddress], list[Pod]]:
    """The ready addresses of a service, and the pods behind its endpoints.

    They come from its EndpointSlices, else from its Endpoints, else from the selected pods.
    """
    key = _key(found)
    ready: list[_ReadyAddress] = []
    pods: list[Pod | None] = []
    if key in index.slices:
        for part in index.slices[key]:
            for endpoint in part.endpoints:
                for address in endpoint.addresses:
                    pods.append(pod := _pod(key[0], endpoint.target_ref, address, index))
                    if endpoint.conditions.ready:
                        ready.append(_ReadyAddress(str(address), pod, tuple(part.ports)))
    elif key in index.endpoints:
        for subset in index.endpoints[key].subsets:
            for address_object in subset.addresses:
                pods.append(pod := _pod(key[0], address_object.target_ref, address_object.ip, index))
                ready.append(_ReadyAddress(str(address_object.ip), pod, tuple(subset.ports)))
    else:
        ready = [_ReadyAddress(address, pod) for pod in selected if _is_ready(pod) for address in _addresses(pod)]
    return ready, [pod for pod in pods if pod is not None]


def _pod(namespace: str, reference: ObjectReference | None, address: str, index: _ObjectIndex) -> Pod | None:
    if reference is not None and reference.kind == "Pod":
        return index.pods.get((namespace, reference.name))
    return index.pods_by_address.get(address)


def _is_ready(pod: Pod) -> bool:
    return all(condition.status == "True" for condition in pod.status.conditions if condition.type == "Ready")


def _port(port: ServicePortSpec, ready: list[_ReadyAddress], selected: list[Pod], index: _ObjectIndex) -> ServicePort:
    found_at: dict[tuple[ObjectKey | str, int], dict[str, _ReadyAddress]] = defaultdict(dict)
    for at in ready:
        if at.ports is not None:
            numbers = [found.port for found in at.ports if found.name == port.name and found.protocol == "TCP"]
        else:
            numbers = [_target_port(port, [pod] if (pod := index.pods_by_address.get(at.address)) else [])]
        for number in filter(None, numbers):
            found_at[_key(at.pod) if at.pod else at.address, number][at.address] = at
    of_pods = (_endpoints(list(found.values()), number) for (_, number), found in found_at.items())
    endpoints = tuple(sorted(set(chain.from_iterable(of_pods)), key=_by_address))
    target = _target_port(port, selected) or port.port
    endpoint_ports = {endpoint.port for endpoint in endpoints} or {target}
    return ServicePort(
        port.port, target if target in endpoint_ports else min(endpoint_ports), _protocol(port), endpoints
    )


def _endpoints(ready: list[_ReadyAddress], port: int) -> list[Endpoint]:
    """The endpoints of one pod. Its IPv4 and its IPv6 address are one endpoint, the pod's primary address first.

    As two endpoints, they would fail for half of the requests of a caller that has only one of the families.
    """
    by_address = sorted((Endpoint(at.address, port) for at in ready), key=_by_address)
    if [":" in endpoint.address for endpoint in by_address] != [False, True]:
        return by_address
    ipv4, ipv6 = (endpoint.address for endpoint in by_address)
    pod = ready[0].pod
    ipv6_first = pod is not None and _addresses(pod)[:1] == [ipv6]
    return [Endpoint(ipv6, port, (ipv4,)) if ipv6_first else Endpoint(ipv4, port, (ipv6,))]


def _by_address(endpoint: Endpoint) -> tuple[int, int, int, tuple[str, ...]]:
    address = ipaddress.ip_address(endpoint.address)
    return address.version, int(address), endpoint.port, endpoint.alternatives


def _target_port(port: ServicePortSpec, pods: list[Pod]) -> int | None:
    """The number of the pods' port; None if it is a name that no pod's container has."""
    if not isinstance(port.target_port, str):
        return port.target_port or port.port
    if port.target_port.isdecimal():
        return int(port.target_port)
    container_ports = (found for pod in pods for container in pod.spec.containers for found in container.ports)
    return next((found.container_port for found in container_ports if found.name == port.target_port), None)


def _protocol(port: ServicePortSpec) -> Protocol:
    """By appProtocol, else by the prefix of the port's name, else HTTP, as in Open Service Mesh."""
    protocol = port.app_protocol.removeprefix("kubernetes.io/").lower()
    if not protocol:
        prefix = port.name.partition("-")[0]
        protocol = prefix if prefix in {"tcp", "https"} else "http"
    return Protocol.HTTP if protocol in _HTTP_PROTOCOLS else Protocol.TCP


def _settings(config: MeshConfig | None) -> Settings:
    default = Settings()
    if config is None:
        return default
    spec = config.spec
    return Settings(
        permissive=_value_or(spec.traffic.enable_permissive_traffic_policy_mode, default.permissive),
        egress=_value_or(spec.traffic.enable_egress, default.egress),
        log_level=spec.observability.osm_log_level or default.log_level,
        max_data_plane_connections=spec.sidecar.max_data_plane_connections or 0,
        certificate_validity=float(spec.certificate.service_cert_validity_duration or default.certificate_validity),
        sidecar_log_level=spec.sidecar.log_level or default.sidecar_log_level,
    )


def _value_or(value: T | None, default: T) -> T:
    return default if value is None else value
