"""What the policies of the Service Mesh Interface look like here: typed, and pruned to what decides the mesh."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from osm_probes.sources.schema import Label, Name, Object, Part, Pattern, PortNumber

HeaderName = Annotated[str, Meta(pattern=r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")]
Method = Annotated[str, Meta(pattern=r"^(\*|[A-Za-z-]+)$")]
# Envoy adds up the weights of all backends in 32 bits.
Weight = Annotated[int, Meta(ge=0, le=1_000_000)]


class Subject(Part, frozen=True):
    """Whom a TrafficTarget means; `port` is of v1alpha1 and v1alpha2."""

    kind: str
    name: Name
    namespace: Label | Literal[""] = ""
    port: PortNumber | None = None


class Rule(Part, frozen=True):
    """A route that a TrafficTarget permits: all matches of a group unless some are named."""

    kind: Literal["HTTPRouteGroup", "TCPRoute", "UDPRoute"]
    name: Name
    matches: list[str] = field(default_factory=list)


class TrafficTargetSpec(Part, frozen=True):
    """Who may call whom, how."""

    destination: Subject
    sources: list[Subject] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


class TrafficTarget(Object, frozen=True):
    """access.smi-spec.io/v1alpha3."""

    spec: TrafficTargetSpec


class Match(Part, frozen=True):
    """Requests of a group: all that is said here must hold. Headers come as a map or, in older files, as several."""

    name: str
    path_regex: Pattern = Pattern()
    methods: list[Method] = field(default_factory=list)
    headers: dict[HeaderName, Pattern] | list[dict[HeaderName, Pattern]] = field(default_factory=dict)


class HTTPRouteGroupSpec(Part, frozen=True):
    """The matches of a group, by name."""

    matches: list[Match] = field(default_factory=list)


class HTTPRouteGroup(Object, frozen=True):
    """specs.smi-spec.io/v1alpha4."""

    spec: HTTPRouteGroupSpec


class Ports(Part, frozen=True):
    """Ports of pods; none = all."""

    ports: list[PortNumber] = field(default_factory=list)


class TCPRouteSpec(Part, frozen=True):
    """Connections to these ports."""

    matches: Ports = field(default_factory=Ports)


class TCPRoute(Object, frozen=True):
    """specs.smi-spec.io/v1alpha4."""

    spec: TCPRouteSpec = field(default_factory=TCPRouteSpec)


class WeightedService(Part, frozen=True):
    """A service that takes a share of the calls."""

    service: Name
    weight: Weight


class MatchReference(Part, frozen=True):
    """Which requests are split, by v1alpha4."""

    name: str


class TrafficSplitSpec(Part, frozen=True):
    """How calls to a service are shared out."""

    service: Name
    backends: Annotated[list[WeightedService], Meta(max_length=1000)] = field(default_factory=list)
    matches: list[MatchReference] = field(default_factory=list)


class TrafficSplit(Object, frozen=True):
    """split.smi-spec.io/v1alpha2 and v1alpha4."""

    spec: TrafficSplitSpec


SmiObject: TypeAlias = TrafficTarget | HTTPRouteGroup | TCPRoute | TrafficSplit
