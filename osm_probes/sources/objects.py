"""What Kubernetes objects look like here: typed, and pruned to what decides the mesh."""

import re
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, field

from osm_probes.sources.schema import (
    Address,
    ClusterAddress,
    Label,
    Metadata,
    Name,
    Object,
    Part,
    PortNumber,
    Validity,
)
from osm_probes.sources.smi import SmiObject

LogLevel = Literal["trace", "debug", "info", "warn", "error", "fatal", "panic", "disabled"]
EnvoyLogLevel = Literal["trace", "debug", "info", "warning", "warn", "error", "critical", "off"]

# RFC 6335, 5.1: the names of ports.
_PORT_NAME: Final = re.compile(r"(?=[^a-z]*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?\Z")
_DIGITS: Final = re.compile(r"[0-9]{1,5}\Z")


class Namespace(Object, frozen=True):
    """Whether it belongs to the mesh is in its labels."""


class ServiceAccount(Object, frozen=True):
    """An identity, if its namespace belongs to the mesh."""


class NamedPort(Part, frozen=True):
    """A port of an EndpointSlice, an Endpoints subset: the name is that of the service's port."""

    name: str = ""
    port: PortNumber | None = None
    protocol: str = "TCP"


class PortOfService(Part, frozen=True):
    """What callers dial, and the pods' port: a number, or a container port's name."""

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
            raise ValueError(f"targetPort: {target[:64]!r} is neither a port between 1 and 65535 nor a port's name")


class ServiceSpec(Part, frozen=True):
    """What a service is to callers."""

    type: str = "ClusterIP"
    cluster_ip: ClusterAddress = field(name="clusterIP", default=ClusterAddress())
    cluster_ips: list[ClusterAddress] = field(name="clusterIPs", default_factory=list)
    ports: list[PortOfService] = field(default_factory=list)
    selector: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen = set()
        for index, each in enumerate(self.ports):
            if (each.port, each.protocol) in seen:
                raise ValueError(f"ports[{index}].port: {each.port}/{each.protocol} is there twice")
            seen.add((each.port, each.protocol))


class ServiceMetadata(Metadata, frozen=True):
    """A service's name is one DNS label."""

    name: Label


class ServiceObject(Part, frozen=True):
    """A Service."""

    metadata: ServiceMetadata
    spec: ServiceSpec = field(default_factory=ServiceSpec)


class Reference(Part, frozen=True):
    """The object that an endpoint stands for."""

    kind: str = ""
    name: str = ""


class Conditions(Part, frozen=True):
    """Of an endpoint; `ready` unset counts as ready, by the EndpointSlice API."""

    ready: bool = True


class SliceEndpoint(Part, frozen=True):
    """An endpoint of a slice; its addresses are one and the same pod's."""

    addresses: list[Address]
    conditions: Conditions = field(default_factory=Conditions)
    target_ref: Reference | None = None


class EndpointSlice(Object, frozen=True):
    """A part of a service's endpoints; FQDN slices are left out before."""

    endpoints: list[SliceEndpoint] = field(default_factory=list)
    ports: list[NamedPort] = field(default_factory=list)


class SubsetAddress(Part, frozen=True):
    """An address of an Endpoints subset."""

    ip: Address
    target_ref: Reference | None = None


class Subset(Part, frozen=True):
    """Ready addresses and the ports that all of them have."""

    addresses: list[SubsetAddress] = field(default_factory=list)
    ports: list[NamedPort] = field(default_factory=list)


class Endpoints(Object, frozen=True):
    """All endpoints of the service of that name."""

    subsets: list[Subset] = field(default_factory=list)


class ContainerPort(Part, frozen=True):
    """A port that a container gives a name to."""

    container_port: PortNumber
    name: str = ""
    protocol: str = "TCP"


class Container(Part, frozen=True):
    """The named ports of a container."""

    ports: list[ContainerPort] = field(default_factory=list)


class PodSpec(Part, frozen=True):
    """Who a pod is and where its ports are."""

    service_account_name: Name = "default"
    containers: list[Container] = field(default_factory=list)
    host_network: bool = False


class Condition(Part, frozen=True):
    """One of a pod's conditions."""

    type: str = ""
    status: str = ""


class PodAddress(Part, frozen=True):
    """One of a pod's addresses."""

    ip: Address


class PodStatus(Part, frozen=True):
    """Where a pod is and whether it runs."""

    phase: str = ""
    pod_ip: Address | None = field(name="podIP", default=None)
    pod_ips: list[PodAddress] = field(name="podIPs", default_factory=list)
    conditions: list[Condition] = field(default_factory=list)


class Pod(Object, frozen=True):
    """A workload."""

    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class TrafficSpec(Part, frozen=True):
    """spec.traffic; None = not said."""

    enable_permissive_traffic_policy_mode: bool | None = None
    enable_egress: bool | None = None


class ObservabilitySpec(Part, frozen=True):
    """spec.observability."""

    osm_log_level: LogLevel | None = None


class SidecarSpec(Part, frozen=True):
    """spec.sidecar."""

    log_level: EnvoyLogLevel | None = None
    max_data_plane_connections: Annotated[int, Meta(ge=0)] | None = None


class CertificateSpec(Part, frozen=True):
    """spec.certificate."""

    service_cert_validity_duration: Validity | None = None


class MeshConfigSpec(Part, frozen=True):
    """The fields of MeshConfig that are honoured, at upstream's paths."""

    traffic: TrafficSpec = field(default_factory=TrafficSpec)
    observability: ObservabilitySpec = field(default_factory=ObservabilitySpec)
    sidecar: SidecarSpec = field(default_factory=SidecarSpec)
    certificate: CertificateSpec = field(default_factory=CertificateSpec)


class MeshConfig(Object, frozen=True):
    """The settings of the mesh."""

    spec: MeshConfigSpec = field(default_factory=MeshConfigSpec)


MeshObject: TypeAlias = (
    Namespace | ServiceAccount | ServiceObject | Endpoints | EndpointSlice | Pod | MeshConfig | SmiObject
)
