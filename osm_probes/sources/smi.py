"""Policies of the Service Mesh Interface (SMI) as they are decoded here: only the fields that decide the mesh."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from osm_probes.sources.schema import ApiObject, ApiStruct, Label, Name, Pattern, PortNumber

HeaderName = Annotated[str, Meta(pattern=r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")]
Method = Annotated[str, Meta(pattern=r"^(\*|[A-Za-z-]+)$")]
# Envoy's sum of the weights of all backends has 32 bits.
Weight = Annotated[int, Meta(ge=0, le=1_000_000)]


class Subject(ApiStruct, frozen=True):
    """A source or the destination of a TrafficTarget. `port` belongs to v1alpha1 and v1alpha2."""

    kind: str
    name: Name
    namespace: Label | Literal[""] = ""
    port: PortNumber | None = None


class Rule(ApiStruct, frozen=True):
    """A route group that a TrafficTarget permits: the named matches, or all if none is named."""

    kind: Literal["HTTPRouteGroup", "TCPRoute", "UDPRoute"]
    name: Name
    matches: list[str] = field(default_factory=list)


class TrafficTargetSpec(ApiStruct, frozen=True):
    """Which sources may call the destination, and the routes that they may use."""

    destination: Subject
    sources: list[Subject] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


class TrafficTarget(ApiObject, frozen=True):
    """access.smi-spec.io/v1alpha3."""

    spec: TrafficTargetSpec


class HTTPMatch(ApiStruct, frozen=True):
    """A condition on requests; all its parts must hold. headers: a map, or, in older files, a list of maps."""

    name: str
    path_regex: Pattern = Pattern()
    methods: list[Method] = field(default_factory=list)
    headers: dict[HeaderName, Pattern] | list[dict[HeaderName, Pattern]] = field(default_factory=dict)


class HTTPRouteGroupSpec(ApiStruct, frozen=True):
    """The matches of a group."""

    matches: list[HTTPMatch] = field(default_factory=list)


class HTTPRouteGroup(ApiObject, frozen=True):
    """specs.smi-spec.io/v1alpha4."""

    spec: HTTPRouteGroupSpec


class TCPMatch(ApiStruct, frozen=True):
    """Ports of the pods; empty means all ports."""

    ports: list[PortNumber] = field(default_factory=list)


class TCPRouteSpec(ApiStruct, frozen=True):
    """The ports that connections may use."""

    matches: TCPMatch = field(default_factory=TCPMatch)


class TCPRoute(ApiObject, frozen=True):
    """specs.smi-spec.io/v1alpha4."""

    spec: TCPRouteSpec = field(default_factory=TCPRouteSpec)


class SplitBackend(ApiStruct, frozen=True):
    """A service that gets a part of the traffic."""

    service: Name
    weight: Weight


class MatchReference(ApiStruct, frozen=True):
    """An HTTPRouteGroup that selects the requests to split (v1alpha4)."""

    name: str


class TrafficSplitSpec(ApiStruct, frozen=True):
    """How the traffic of a service is split."""

    service: Name
    backends: Annotated[list[SplitBackend], Meta(max_length=1000)] = field(default_factory=list)
    matches: list[MatchReference] = field(default_factory=list)


class TrafficSplit(ApiObject, frozen=True):
    """split.smi-spec.io/v1alpha2 and v1alpha4."""

    spec: TrafficSplitSpec


SmiObject: TypeAlias = TrafficTarget | HTTPRouteGroup | TCPRoute | TrafficSplit
