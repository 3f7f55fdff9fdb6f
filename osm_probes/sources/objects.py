"""What Kubernetes objects look like here: typed, and pruned to what decides the mesh."""

import re
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field


class Address(str):
    """An IP address in its canonical form."""

    __slots__ = ()


class ClusterAddress(str):
    """A Service's clusterIP: an IP address, "None" (headless) or "" (not given yet)."""

    __slots__ = ()


class Validity(float):
    """How long certificates are valid, in seconds, from 5 on; written as Go does: 24h, 1h30m."""

    __slots__ = ()


Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
LogLevel = Literal["trace", "debug", "info", "warn", "error", "fatal", "panic", "disabled"]
EnvoyLogLevel = Literal["trace", "debug", "info", "warning", "warn", "error", "critical", "off"]

# RFC 6335, 5.1: the names of ports.
_PORT_NAME: Final = re.compile(r"(?=[^a-z]*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?\Z")
_DIGITS: Final = re.compile(r"[0-9]{1,5}\Z")


class _Part(Struct, frozen=True, rename="camel"):
    """What all parts of objects have in common: camelCase names; unknown fields are ignored."""


class Metadata(_Part, frozen=True):
    """Names, labels and annotations."""

    name: Name
    namespace: Label = "default"
    uid: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class _Object(_Part, frozen=True):
    metadata: Metadata


class Namespace(_Object, frozen=True):
    """Whether it belongs to the mesh is in its labels."""


class ServiceAccount(_Object, frozen=True):
    """An identity, if its namespace belongs to the mesh."""


class NamedPort(_Part, frozen=True):
    """A port of an EndpointSlice, an Endpoints subset: the name is that of the service's port."""

    name: str = ""
    port: PortNumber | None = None
    protocol: str = "TCP"


class PortOfService(_Part, frozen=True):
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


class ServiceSpec(_Part, frozen=True):
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


class ServiceObject(_Part, frozen=True):
    """A Service."""

    metadata: ServiceMetadata
    spec: ServiceSpec = field(default_factory=ServiceSpec)


class Reference(_Part, frozen=True):
    """The object that an endpoint stands for."""

    kind: str = ""
    name: str = ""


class Conditions(_Part, frozen=True):
    """Of an endpoint; `ready` unset counts as ready, by the EndpointSlice API."""

    ready: bool = True


class SliceEndpoint(_Part, frozen=True):
    """An endpoint of a slice; its addresses are one and the same pod's."""

    addresses: list[Address]
    conditions: Conditions = field(default_factory=Conditions)
    target_ref: Reference | None = None


class EndpointSlice(_Object, frozen=True):
    """A part of a service's endpoints; FQDN slices are left out before."""

    endpoints: list[SliceEndpoint] = field(default_factory=list)
    ports: list[NamedPort] = field(default_factory=list)


class SubsetAddress(_Part, frozen=True):
    """An address of an Endpoints subset."""

    ip: Address
    target_ref: Reference | None = None


class Subset(_Part, frozen=True):
    """Ready addresses and the ports that all of them have."""

    addresses: list[SubsetAddress] = field(default_factory=list)
    ports: list[NamedPort] = field(default_factory=list)


class Endpoints(_Object, frozen=True):
    """All endpoints of the service of that name."""

    subsets: list[Subset] = field(default_factory=list)


class ContainerPort(_Part, frozen=True):
    """A port that a container gives a name to."""

    container_port: PortNumber
    name: str = ""
    protocol: str = "TCP"


class Container(_Part, frozen=True):
    """The named ports of a container."""

    ports: list[ContainerPort] = field(default_factory=list)


class PodSpec(_Part, frozen=True):
    """Who a pod is and where its ports are."""

    service_account_name: Name = "default"
    containers: list[Container] = field(default_factory=list)
    host_network: bool = False


class Condition(_Part, frozen=True):
    """One of a pod's conditions."""

    type: str = ""
    status: str = ""


class PodAddress(_Part, frozen=True):
    """One of a pod's addresses."""

    ip: Address


class PodStatus(_Part, frozen=True):
    """Where a pod is and whether it runs."""

    phase: str = ""
    pod_ip: Address | None = field(name="podIP", default=None)
    pod_ips: list[PodAddress] = field(name="podIPs", default_factory=list)
    conditions: list[Condition] = field(default_factory=list)


class Pod(_Object, frozen=True):
    """A workload."""

    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class TrafficSpec(_Part, frozen=True):
    """spec.traffic; None = not said."""

    enable_permissive_traffic_policy_mode: bool | None = None
    enable_egress: bool | None = None


class ObservabilitySpec(_Part, frozen=True):
    """spec.observability."""

    osm_log_level: LogLevel | None = None


class SidecarSpec(_Part, frozen=True):
    """spec.sidecar."""

    log_level: EnvoyLogLevel | None = None
    max_data_plane_connections: Annotated[int, Meta(ge=0)] | None = None


class CertificateSpec(_Part, frozen=True):
    """spec.certificate."""

    service_cert_validity_duration: Validity | None = None


class MeshConfigSpec(_Part, frozen=True):
    """The fields of MeshConfig that are honoured, at upstream's paths."""

    traffic: TrafficSpec = field(default_factory=TrafficSpec)
    observability: ObservabilitySpec = field(default_factory=ObservabilitySpec)
    sidecar: SidecarSpec = field(default_factory=SidecarSpec)
    certificate: CertificateSpec = field(default_factory=CertificateSpec)


class MeshConfig(_Object, frozen=True):
    """The settings of the mesh."""

    spec: MeshConfigSpec = field(default_factory=MeshConfigSpec)


MeshObject: TypeAlias = Namespace | ServiceAccount | ServiceObject | Endpoints | EndpointSlice | Pod | MeshConfig
