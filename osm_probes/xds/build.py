"""Mesh + identity -> snapshot: the resources of all proxies with one identity."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar, cast

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Endpoint, Mesh, Protocol
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, ResourceSet, Snapshot
from osm_probes.xds.clusters import (
    local_cluster,
    metrics_cluster,
    passthrough_cluster,
    upstream_cluster,
    upstream_template,
)
from osm_probes.xds.destination import Destination
from osm_probes.xds.endpoints import load_assignment_resource
from osm_probes.xds.listeners import (
    inbound_filter_chain,
    inbound_listener,
    outbound_filter_chains,
    outbound_listener,
    passthrough_filter_chain,
    prometheus_listener,
)
from osm_probes.xds.protobuf import to_bytes
from osm_probes.xds.resource_names import cluster_name, outbound_routes_name
from osm_probes.xds.routes import inbound_route_configuration, outbound_route_configuration, outbound_virtual_host
from osm_probes.xds.secrets import (
    Secrets,
    certificate_secret,
    inbound_validation_secret,
    outbound_validation_secret,
    tcp_inbound_validation_secret,
)
from osm_probes.xds.topology import Topology, topology_from_mesh
from osm_probes.xds.traffic_policy import OutboundDestination, TrafficPolicy
from osm_probes.xds.transport_sockets import caller_certificate

P = ParamSpec("P")
T = TypeVar("T")

_ANY_CERTIFICATE: Final = to_bytes(caller_certificate(Identity("", "")))


@dataclass(frozen=True, slots=True)
class _Configuration:
    """The resources of an identity that do not depend on endpoints and secrets, and the names of its clusters."""

    sets: Mapping[str, ResourceSet]
    clusters: frozenset[str]


class SnapshotBuilder:
    """Builds snapshots. A resource that did not change since the last mesh is not built again, for any identity.

    In permissive mode each identity may call every service of the mesh. Otherwise it gets only the services that a
    permission covers, and its own sidecar accepts nothing else: the RBAC of the route decides about HTTP requests, the
    TLS handshake about TCP connections. So a changed permission never changes an inbound listener, which would drain
    its connections; a TCP connection that was accepted stays open. Equal input gives equal snapshots, in any order. Not
    thread-safe.
    """

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain
        self._cache = GenerationCache()
        self._assignment_cache = GenerationCache()
        self._mesh: Mesh | None = None
        self._topology = Topology()
        self._policy = TrafficPolicy(self._topology)
        self._assignments = ResourceSet.of(ENDPOINTS, ())
        self._configurations: dict[Identity, _Configuration] = {}
        self._secrets: dict[Identity, tuple[Secrets, ResourceSet]] = {}

    def build(self, mesh: Mesh, identity: Identity, *, secrets: Secrets) -> Snapshot:
        """The snapshot of an identity."""
        if mesh is not self._mesh:
            self._update_mesh(mesh)
        if identity not in self._configurations:
            self._configurations[identity] = self._configure(identity)
        configuration = self._configurations[identity]
        assignments = self._assignments
        if not self._topology.permissive:
            assignments = assignments.select(configuration.clusters)
        sets = {**configuration.sets, ENDPOINTS: assignments, SECRET: self._secret_set(identity, secrets)}
        return Snapshot(MappingProxyType(sets))

    def _update_mesh(self, mesh: Mesh) -> None:
        """Build the load assignments, which all identities share. The rest is built when its identity is asked for."""
        topology, endpoints_of = topology_from_mesh(mesh)
        if topology != self._topology:
            self._cache.start_generation()
        self._assignment_cache.start_generation()
        resources = (self._assignment(to, endpoints) for to, endpoints in endpoints_of.items() if not to.headless)
        assignments = ResourceSet.of(ENDPOINTS, resources)
        # Only after all of them are built: if building fails, the next identity must not get parts of two meshes.
        if topology != self._topology:
            self._topology, self._policy = topology, TrafficPolicy(topology)
            self._configurations.clear()
            self._secrets.clear()
        self._mesh, self._assignments = mesh, assignments

    def _assignment(self, destination: Destination, endpoints: tuple[Endpoint, ...]) -> Resource:
        # All identities share one set of assignments: their clusters differ, but change at the same time.
        template = self._cache(upstream_template, destination)
        version = self._cache(upstream_cluster, template, certificate=_ANY_CERTIFICATE).version
        return self._assignment_cache(
            load_assignment_resource, cluster_name(destination), endpoints=endpoints, cluster_version=version
        )

    def _configure(self, identity: Identity) -> _Configuration:
        inbound = list(self._inbound(identity))
        outbound = self._policy.outbound_destinations(identity)
        clusters = ResourceSet.of(CLUSTER, self._clusters(identity, inbound))
        sets = {
            CLUSTER: clusters,
            LISTENER: ResourceSet.of(LISTENER, self._listeners(identity, outbound, inbound)),
            ROUTES: ResourceSet.of(ROUTES, self._routes(identity, outbound, inbound)),
        }
        return _Configuration(sets, frozenset(clusters.by_name))

    def _inbound(self, identity: Identity) -> Iterator[tuple[Destination, int]]:
        """The inbound destinations, each with the application's port; ports of a service that share one count once."""
        seen = set()
        for to in self._policy.inbound_destinations(identity):
            for target in to.targets:
                if (to.namespace, to.service, target) not in seen:
                    seen.add((to.namespace, to.service, target))
                    yield to, target

    def _clusters(self, identity: Identity, inbound: list[tuple[Destination, int]]) -> Iterator[Resource]:
        certificate = to_bytes(caller_certificate(identity))
        for to in self._policy.callable_destinations(identity):
            yield self._cache(upstream_cluster, self._cache(upstream_template, to), certificate=certificate)
        for to, target in inbound:
            yield self._cache(local_cluster, to, target=target, ipv6=self._topology.ipv6)
        if self._topology.egress:
            yield self._cache(passthrough_cluster)
        yield self._cache(metrics_cluster)

    def _listeners(
        self, identity: Identity, outbound: Sequence[OutboundDestination], inbound: list[tuple[Destination, int]]
    ) -> Iterator[Resource]:
        ipv6 = self._topology.ipv6
        outbound_chains = [self._cache(outbound_filter_chains, to.destination, clusters=to.clusters) for to in outbound]
        if self._topology.egress:
            outbound_chains.append(passthrough_filter_chain())
        # Envoy rejects a listener without a filter chain.
        if any(outbound_chains):
            yield outbound_listener(outbound_chains, ipv6=ipv6)
        if inbound:
            chains = (self._cache(inbound_filter_chain, to, target=target, identity=identity) for to, target in inbound)
            yield inbound_listener(chains, ipv6=ipv6)
        yield self._cache(prometheus_listener, ipv6=ipv6)

    def _routes(
        self, identity: Identity, outbound: Sequence[OutboundDestination], inbound: list[tuple[Destination, int]]
    ) -> Iterator[Resource]:
        hosts_of: dict[str, list[bytes]] = defaultdict(list)
        for outbound_destination in outbound:
            to = outbound_destination.destination
            if to.protocol is Protocol.HTTP and to.dialled:
                # Only callers in the service's own namespace have one more domain, so all others share a cache entry.
                caller = identity.namespace if identity.namespace == to.namespace else ""
                clusters = outbound_destination.clusters
                host = self._cache(outbound_virtual_host, to, caller_namespace=caller, clusters=clusters)
                hosts_of[outbound_routes_name(to)].append(host)
        for name, virtual_hosts in hosts_of.items():
            yield outbound_route_configuration(name, virtual_hosts=virtual_hosts)
        for to, target in inbound:
            if to.protocol is Protocol.HTTP:
                yield self._cache(
                    inbound_route_configuration,
                    to,
                    target=target,
                    permissions=self._policy.permissions_to_call(to, target=target, identity=identity),
                    trust_domain=self._trust_domain,
                )

    def _secret_set(self, identity: Identity, secrets: Secrets) -> ResourceSet:
        """The secrets of an identity. They are built again when its certificate is renewed."""
        cached = self._secrets.get(identity)
        if cached is not None and cached[0] == secrets:
            return cached[1]
        resources = ResourceSet.of(SECRET, self._secret_resources(identity, secrets))
        self._secrets[identity] = (secrets, resources)
        return resources

    def _secret_resources(self, identity: Identity, secrets: Secrets) -> Iterable[Resource]:
        yield certificate_secret(identity, secrets=secrets)
        yield inbound_validation_secret(identity, roots_pem=secrets.roots_pem)
        # All ports of a service share one secret.
        services = {(to.namespace, to.service): to for to in reversed(self._policy.callable_destinations(identity))}
        for to in services.values():
            yield self._cache(
                outbound_validation_secret, to, roots_pem=secrets.roots_pem, trust_domain=self._trust_domain
            )
        for to, target in self._inbound(identity):
            if to.protocol is Protocol.TCP:
                yield self._cache(
                    tcp_inbound_validation_secret,
                    to,
                    target=target,
                    permissions=self._policy.permissions_to_call(to, target=target, identity=identity),
                    roots_pem=secrets.roots_pem,
                    trust_domain=self._trust_domain,
                )


class GenerationCache:
    """Results of pure functions by their arguments. An entry that is not used for a whole generation is dropped."""

    def __init__(self) -> None:
        self._current: dict[Hashable, Any] = {}
        self._previous: dict[Hashable, Any] = {}

    def __call__(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`make(*args, **kwargs)`, or its cached result. All arguments must be hashable."""
        key = (make, args, *kwargs.values())
        if key not in self._current:
            self._current[key] = self._previous[key] if key in self._previous else make(*args, **kwargs)
        return cast("T", self._current[key])

    def start_generation(self) -> None:
        """Keep the entries of the current generation for one more, and drop the older ones."""
        self._previous, self._current = self._current, {}
