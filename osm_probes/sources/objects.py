"""Kubernetes objects as they are decoded here: only the fields that decide the mesh."""

import re
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, field

from osm_probes.sources.schema import (
    Address,
    ApiObject,
    ApiStruct,
    ClusterAddress,
    Label,
    Metadata,
    Name,
    PortNumber,
    Validity,
)
from osm_probes.sources.smi import SmiObject

LogLevel = Literal["trace", "debug", "info", "warn", "error", "fatal", "panic", "disabled"]
EnvoyLogLevel = Literal["trace", "debug", "info", "warning", "warn", "error", "critical", "off"]

# RFC 6335, 5.1: the names of ports.
_PORT_NAME: Final = re.compile(r"(?=[^a-z]*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?\Z")
_DIGITS: Final = re.compile(r"[0-9]{1,5}\Z")


class Namespace(ApiObject, frozen=True):
    """A namespace; a label says whether it belongs to the mesh."""


class ServiceAccount(ApiObject, frozen=True):
    """A service account: an identity of the mesh, if its namespace belongs to it."""


class EndpointPort(ApiStruct, frozen=True):
    """A port of an EndpointSlice or of an Endpoints subset. name: of the service's port."""

    name: str = ""
    port: PortNumber | None = None
    protocol: str = "TCP"


class ServicePortSpec(ApiStruct, frozen=True):
    """A port of a service. target_port: the pods' port, as a number or as the name of a container port."""

    port: PortNumber
    name: str = ""
    target_port: PortNumber | str | None = None
    protocol: str = "TCP"
    app_protocol: str = ""

    def __post_init__(self) -> None:
        target = self.target_port
        if not isinstance(target, str) or _PORT_NAME.match(target):
            return
        if not _DIGITS.match(target) or not 0 < int(target) <= 65535:
            raise ValueError(f"targetPort: {target[:64]!r} is neither a port between 1 and 65535 nor a port name")


class ServiceSpec(ApiStruct, frozen=True):
    """A service's type, addresses, ports and pod selector."""

    type: str = "ClusterIP"
    cluster_ip: ClusterAddress = field(name="clusterIP", default=ClusterAddress())
    cluster_ips: list[ClusterAddress] = field(name="clusterIPs", default_factory=list)
    ports: list[ServicePortSpec] = field(default_factory=list)
    selector: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen = set()
        for index, port in enumerate(self.ports):
            if (port.port, port.protocol) in seen:
                raise ValueError(f"ports[{index}].port: {port.port}/{port.protocol} is defined twice")
            seen.add((port.port, port.protocol))


class ServiceMetadata(Metadata, frozen=True):
    """The metadata of a service, whose name is one DNS label."""

    name: Label


class ServiceObject(ApiStruct, frozen=True):
    """A Service."""

    metadata: ServiceMetadata
    spec: ServiceSpec = field(default_factory=ServiceSpec)


class ObjectReference(ApiStruct, frozen=True):
    """The object behind an endpoint address, such as a pod."""

    kind: str = ""
    name: str = ""


class EndpointConditions(ApiStruct, frozen=True):
    """The conditions of an endpoint. An unset `ready` means ready, by the EndpointSlice API."""

    ready: bool = True


class SliceEndpoint(ApiStruct, frozen=True):
    """An endpoint of a slice. All its addresses belong to the same pod."""

    addresses: list[Address]
    conditions: EndpointConditions = field(default_factory=EndpointConditions)
    target_ref: ObjectReference | None = None


class EndpointSlice(ApiObject, frozen=True):
    """A part of a service's endpoints. Slices of address type FQDN are dropped before they are decoded."""

    endpoints: list[SliceEndpoint] = field(default_factory=list)
    ports: list[EndpointPort] = field(default_factory=list)


class EndpointAddress(ApiStruct, frozen=True):
    """An address of an Endpoints subset."""

    ip: Address
    target_ref: ObjectReference | None = None


class EndpointSubset(ApiStruct, frozen=True):
    """Ready addresses, and the ports that all of them have."""

    addresses: list[EndpointAddress] = field(default_factory=list)
    ports: list[EndpointPort] = field(default_factory=list)


class Endpoints(ApiObject, frozen=True):
    """All endpoints of the service with the same name."""

    subsets: list[EndpointSubset] = field(default_factory=list)


class ContainerPort(ApiStruct, frozen=True):
    """A port of a container."""

    container_port: PortNumber
    name: str = ""
    protocol: str = "TCP"


class Container(ApiStruct, frozen=True):
    """A container's ports."""

    ports: list[ContainerPort] = field(default_factory=list)


class PodSpec(ApiStruct, frozen=True):
    """A pod's service account, containers and network."""

    service_account_name: Name = "default"
    containers: list[Container] = field(default_factory=list)
    host_network: bool = False


class PodCondition(ApiStruct, frozen=True):
    """One of a pod's conditions."""

    type: str = ""
    status: str = ""


class PodIP(ApiStruct, frozen=True):
    """One of a pod's addresses."""

    ip: Address


class PodStatus(ApiStruct, frozen=True):
    """A pod's phase, addresses and conditions."""

    phase: str = ""
    pod_ip: Address | None = field(name="podIP", default=None)
    pod_ips: list[PodIP] = field(name="podIPs", default_factory=list)
    conditions: list[PodCondition] = field(default_factory=list)


class Pod(ApiObject, frozen=True):
    """A pod."""

    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class TrafficSpec(ApiStruct, frozen=True):
    """spec.traffic; None = not set."""

    enable_permissive_traffic_policy_mode: bool | None = None
    enable_egress: bool | None = None


class ObservabilitySpec(ApiStruct, frozen=True):
    """spec.observability."""

    osm_log_level: LogLevel | None = None


class SidecarSpec(ApiStruct, frozen=True):
    """spec.sidecar."""

    log_level: EnvoyLogLevel | None = None
    max_data_plane_connections: Annotated[int, Meta(ge=0)] | None = None


class CertificateSpec(ApiStruct, frozen=True):
    """spec.certificate."""

    service_cert_validity_duration: Validity | None = None


class MeshConfigSpec(ApiStruct, frozen=True):
    """The supported fields of MeshConfig v1alpha2."""

    traffic: TrafficSpec = field(default_factory=TrafficSpec)
    observability: ObservabilitySpec = field(default_factory=ObservabilitySpec)
    sidecar: SidecarSpec = field(default_factory=SidecarSpec)
    certificate: CertificateSpec = field(default_factory=CertificateSpec)


class MeshConfig(ApiObject, frozen=True):
    """The settings of the mesh."""

    spec: MeshConfigSpec = field(default_factory=MeshConfigSpec)


MeshObject: TypeAlias = (
    Namespace | ServiceAccount | ServiceObject | Endpoints | EndpointSlice | Pod | MeshConfig | SmiObject
)
