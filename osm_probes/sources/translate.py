"""Kubernetes objects -> Mesh: what counts, who answers for it, where; pure, the same for every source."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from osm_probes.mesh import mesh
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import MONITORED_BY, PREFIX, PROXY_UUID, UUID
from osm_probes.mesh.mesh import Endpoint, Mesh, Protocol, Proxy, Service, ServicePort
from osm_probes.mesh.settings import Settings
from osm_probes.sources.objects import (
    Endpoints,
    EndpointSlice,
    MeshConfig,
    MeshObject,
    NamedPort,
    Namespace,
    Pod,
    PortOfService,
    Reference,
    ServiceAccount,
    ServiceObject,
)
from osm_probes.sources.policies import policies_from_objects

SERVICE_NAME: Final = "kubernetes.io/service-name"
_HTTP: Final = {"http", "http2", "grpc", "h2c", "ws"}


@dataclass(frozen=True, slots=True)
class _Ready:
    """A ready address of a service and the ports it has; None = those that the service has."""

    address: str
    ports: tuple[NamedPort, ...] | None = None


@dataclass(slots=True)
class _World:
    """The objects of the mesh's namespaces, found by what others call them."""

    services: list[ServiceObject] = field(default_factory=list)
    slices: dict[tuple[str, str], list[EndpointSlice]] = field(default_factory=lambda: defaultdict(list))
    endpoints: dict[tuple[str, str], Endpoints] = field(default_factory=dict)
    pods: dict[tuple[str, str], Pod] = field(default_factory=dict)
    pods_of: dict[str, list[Pod]] = field(default_factory=lambda: defaultdict(list))
    pods_at: dict[str, Pod] = field(default_factory=dict)
    identities: set[Identity] = field(default_factory=set)
    refused: set[Identity] = field(default_factory=set)
    namespaces: dict[str, mesh.Namespace] = field(default_factory=dict)
    config: MeshConfig | None = None


def mesh_from_objects(objects: Iterable[MeshObject], *, mesh_name: str) -> Mesh:
    """The mesh that these objects are, whatever their order.

    Namespaces count that carry the label openservicemesh.io/monitored-by=<mesh name>, and all that is in them, but for
    pods without the label osm-proxy-uuid; proxies are those whose label is a uuid (of two with one uuid and one
    service account the first by name). Misleading service accounts and their pods are left out, and named in `refused`;
    policies without effect in `ignored`.
    """
    ordered = sorted(objects, key=_place)
    world = _world(ordered, mesh_name=mesh_name)
    policies = policies_from_objects(each for each in ordered if each.metadata.namespace in world.namespaces)
    proxies = sorted(_proxies(world), key=lambda proxy: (proxy.uuid, proxy.identity))
    return Mesh(
        services=tuple(_service(each, world) for each in world.services),
        proxies={(proxy.uuid, proxy.identity): proxy for proxy in proxies},
        identities=frozenset(world.identities),
        refused=frozenset(world.refused),
        namespaces=world.namespaces,
        settings=_settings(world.config),
        permissions=policies.permissions,
        splits=policies.splits,
        ignored=policies.ignored,
    )


def _place(each: MeshObject) -> tuple[str, str]:
    return each.metadata.namespace, each.metadata.name


def _world(objects: list[MeshObject], *, mesh_name: str) -> _World:
    world = _World()
    for each in objects:
        if isinstance(each, Namespace) and each.metadata.labels.get(MONITORED_BY) == mesh_name:
            metadata = each.metadata
            world.namespaces[metadata.name] = mesh.Namespace(_ours(metadata.labels), _ours(metadata.annotations))
    for each in objects:
        if isinstance(each, MeshConfig):
            world.config = world.config or each
        elif each.metadata.namespace in world.namespaces:
            _settle_in(each, world)
    return world


def _ours(entries: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations of the mesh; Kubernetes and others add theirs, which decide nothing."""
    return {key: value for key, value in entries.items() if key.startswith(PREFIX)}


def _settle_in(each: MeshObject, world: _World) -> None:
    place = _place(each)
    match each:
        case ServiceAccount() if Identity(*place).misleading:
            world.refused.add(Identity(*place))
        case Pod() if _identity(each).misleading:
            world.refused.add(_identity(each))
        case ServiceObject() if each.spec.type != "ExternalName":
            world.services.append(each)
        case EndpointSlice() if SERVICE_NAME in each.metadata.labels:
            world.slices[place[0], each.metadata.labels[SERVICE_NAME]].append(each)
        case Endpoints():
            world.endpoints[place] = each
        case ServiceAccount():
            world.identities.add(Identity(*place))
        # A pod without a sidecar is no part of the mesh, though a service may have it among its endpoints; a finished
        # pod's address may be another's by now.
        case Pod() if PROXY_UUID in each.metadata.labels and each.status.phase not in {"Succeeded", "Failed"}:
            world.pods[place] = each
            world.pods_of[place[0]].append(each)
            world.identities.add(_identity(each))
            # A pod on its node's network has that address together with others.
            if not each.spec.host_network:
                world.pods_at.update(dict.fromkeys(_addresses(each), each))
        case _:
            pass


def _identity(pod: Pod) -> Identity:
    return Identity(pod.metadata.namespace, pod.spec.service_account_name)


def _addresses(pod: Pod) -> list[str]:
    first = [str(pod.status.pod_ip)] if pod.status.pod_ip else []
    return list(dict.fromkeys([*first, *(str(each.ip) for each in pod.status.pod_ips)]))


def _proxies(world: _World) -> Iterator[Proxy]:
    seen = set()
    for pod in world.pods.values():
        uuid = pod.metadata.labels.get(PROXY_UUID, "")
        # No certificate can name a proxy whose label is no uuid.
        if UUID.match(uuid) and (uuid, _identity(pod)) not in seen:
            seen.add((uuid, _identity(pod)))
            address = next(iter(_addresses(pod)), "")
            yield Proxy(uuid, pod.metadata.namespace, pod.metadata.name, _identity(pod), address)


def _service(each: ServiceObject, world: _World) -> Service:
    namespace, name = _place(each)
    selected = _selected(each, world)
    ready, answering = _ready(each, selected, world)
    clustered = [each.spec.cluster_ip, *each.spec.cluster_ips]
    ports = (_port(port, ready, selected, world) for port in each.spec.ports if port.protocol == "TCP")
    return Service(
        namespace,
        name,
        tuple(sorted(ports, key=lambda port: port.number)),
        addresses=tuple(sorted({str(address) for address in clustered if address not in {"", "None"}})),
        # Those that are not ready yet, too: their sidecars must know the service before the first call comes.
        identities=tuple(sorted({_identity(pod) for pod in (*selected, *answering)})),
    )


def _selected(each: ServiceObject, world: _World) -> list[Pod]:
    wanted = each.spec.selector.items()
    return [pod for pod in world.pods_of[each.metadata.namespace] if wanted and wanted <= pod.metadata.labels.items()]


def _ready(each: ServiceObject, selected: list[Pod], world: _World) -> tuple[list[_Ready], list[Pod]]:
    """Where the service is ready, and the pods behind it: by EndpointSlices, else Endpoints, else the selector."""
    place = _place(each)
    ready: list[_Ready] = []
    pods: list[Pod | None] = []
    if place in world.slices:
        for part in world.slices[place]:
            for endpoint in part.endpoints:
                pods += (_pod(place[0], endpoint.target_ref, address, world) for address in endpoint.addresses)
                if endpoint.conditions.ready:
                    ready += (_Ready(str(address), tuple(part.ports)) for address in endpoint.addresses)
    elif place in world.endpoints:
        for subset in world.endpoints[place].subsets:
            for there in subset.addresses:
                pods.append(_pod(place[0], there.target_ref, there.ip, world))
                ready.append(_Ready(str(there.ip), tuple(subset.ports)))
    else:
        ready = [_Ready(address) for pod in selected if _is_ready(pod) for address in _addresses(pod)]
    return ready, [pod for pod in pods if pod is not None]


def _pod(namespace: str, reference: Reference | None, address: str, world: _World) -> Pod | None:
    if reference is not None and reference.kind == "Pod":
        return world.pods.get((namespace, reference.name))
    return world.pods_at.get(address)


def _is_ready(pod: Pod) -> bool:
    return all(condition.status == "True" for condition in pod.status.conditions if condition.type == "Ready")


def _port(port: PortOfService, ready: list[_Ready], selected: list[Pod], world: _World) -> ServicePort:
    found = set()
    for there in ready:
        if there.ports is not None:
            numbers = [each.port for each in there.ports if each.name == port.name and each.protocol == "TCP"]
        else:
            numbers = [_target(port, [pod] if (pod := world.pods_at.get(there.address)) else [])]
        found |= {Endpoint(there.address, number) for number in numbers if number}
    endpoints = tuple(sorted(found, key=_by_address))
    stated = _target(port, selected) or port.port
    answering = {each.port for each in endpoints} or {stated}
    return ServicePort(port.port, stated if stated in answering else min(answering), _protocol(port), endpoints)


def _by_address(endpoint: Endpoint) -> tuple[int, int, int]:
    address = ipaddress.ip_address(endpoint.address)
    return address.version, int(address), endpoint.port


def _target(port: PortOfService, pods: list[Pod]) -> int | None:
    """The number of the pods' port; None if it has a name that no pod knows."""
    if not isinstance(port.target_port, str):
        return port.target_port or port.port
    if port.target_port.isdecimal():
        return int(port.target_port)
    named = (one for pod in pods for container in pod.spec.containers for one in container.ports)
    return next((one.container_port for one in named if one.name == port.target_port), None)


def _protocol(port: PortOfService) -> Protocol:
    """By appProtocol, else by the port name's first word; HTTP where neither says, as upstream has it."""
    word = port.app_protocol.removeprefix("kubernetes.io/").lower()
    if not word:
        first = port.name.partition("-")[0]
        word = first if first in {"tcp", "https"} else "http"
    return Protocol.HTTP if word in _HTTP else Protocol.TCP


def _settings(config: MeshConfig | None) -> Settings:
    default = Settings()
    if config is None:
        return default
    spec = config.spec
    return Settings(
        permissive=_said(spec.traffic.enable_permissive_traffic_policy_mode, default.permissive),
        egress=_said(spec.traffic.enable_egress, default.egress),
        log_level=spec.observability.osm_log_level or default.log_level,
        max_data_plane_connections=spec.sidecar.max_data_plane_connections or 0,
        certificate_validity=float(spec.certificate.service_cert_validity_duration or default.certificate_validity),
        sidecar_log_level=spec.sidecar.log_level or default.sidecar_log_level,
    )


def _said(value: bool | None, default: bool) -> bool:  # noqa: FBT001
    return default if value is None else value
