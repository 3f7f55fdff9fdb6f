"""Mesh + identity -> snapshot: what the proxies of one identity are told."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Endpoint, Mesh, Protocol
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, ResourceSet, Snapshot
from osm_probes.xds.access import Access, Call
from osm_probes.xds.clusters import local_cluster, metrics_cluster, passthrough_cluster, remote_cluster
from osm_probes.xds.destination import Destination
from osm_probes.xds.endpoints import assignment_resource
from osm_probes.xds.generation_cache import GenerationCache
from osm_probes.xds.listeners import (
    inbound_chain,
    inbound_listener,
    outbound_chains,
    outbound_listener,
    passthrough_chain,
    prometheus_listener,
)
from osm_probes.xds.names import cluster_name, outbound_routes_name
from osm_probes.xds.outline import Outline, outline
from osm_probes.xds.routes import inbound_routes, outbound_host, outbound_routes
from osm_probes.xds.secrets import (
    Secrets,
    callers_secret,
    certificate_secret,
    inbound_roots_secret,
    outbound_roots_secret,
)

_ANYBODY: Final = Identity("", "")


@dataclass(frozen=True, slots=True)
class _Configured:
    """What an identity is told but for endpoints and secrets, and the names of the clusters with endpoints."""

    sets: Mapping[str, ResourceSet]
    clusters: frozenset[str]


class SnapshotBuilder:
    """Builds snapshots; what did not change since the last build is not built again, whoever asked for it.

    In permissive mode each identity may call every service of the mesh. With it off it is told of those alone that a
    permission covers, and its own sidecar lets in nothing else: requests by the RBAC of their route, connections by the
    names that the handshake takes. So a change of permissions never changes a listener that takes calls, whose
    connections would drain; a connection that was let in once stays. Equal input gives equal snapshots, in whatever
    order it comes. Not for several threads at once.
    """

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain
        self._kept = GenerationCache()
        self._kept_assignments = GenerationCache()
        self._mesh: Mesh | None = None
        self._outline = Outline()
        self._access = Access(self._outline)
        self._assignments = ResourceSet.of(ENDPOINTS, ())
        self._configured: dict[Identity, _Configured] = {}
        self._secrets: dict[Identity, tuple[Secrets, ResourceSet]] = {}

    def build(self, mesh: Mesh, identity: Identity, *, secrets: Secrets) -> Snapshot:
        """The snapshot of an identity."""
        if mesh is not self._mesh:
            self._take(mesh)
        if identity not in self._configured:
            self._configured[identity] = self._configure(identity)
        configured = self._configured[identity]
        assignments = self._assignments
        if not self._outline.permissive:
            assignments = assignments.select(configured.clusters)
        sets = {**configured.sets, ENDPOINTS: assignments, SECRET: self._trust(identity, secrets)}
        return Snapshot(MappingProxyType(sets))

    def _take(self, mesh: Mesh) -> None:
        """A new mesh: the assignments are the same for all; the rest waits for its identity."""
        new, endpoints = outline(mesh)
        if new != self._outline:
            self._kept.turn()
        self._kept_assignments.turn()
        made = (self._assignment(to, there) for to, there in endpoints.items() if not to.headless)
        assignments = ResourceSet.of(ENDPOINTS, made)
        # All or nothing: had this failed half-way, the next identity would get parts of two meshes.
        if new != self._outline:
            self._outline, self._access = new, Access(new)
            self._configured.clear()
            self._secrets.clear()
        self._mesh, self._assignments = mesh, assignments

    def _assignment(self, to: Destination, endpoints: tuple[Endpoint, ...]) -> Resource:
        # One set of assignments serves all identities: their clusters change together, if not to the same bytes.
        version = self._kept(remote_cluster, to, identity=_ANYBODY).version
        return self._kept_assignments(
            assignment_resource, cluster_name(to), endpoints=endpoints, cluster_version=version
        )

    def _configure(self, identity: Identity) -> _Configured:
        inbound = list(self._inbound(identity))
        calls = self._access.calls(identity)
        clusters = ResourceSet.of(CLUSTER, self._clusters(identity, inbound))
        sets = {
            CLUSTER: clusters,
            LISTENER: ResourceSet.of(LISTENER, self._listeners(identity, calls, inbound)),
            ROUTES: ResourceSet.of(ROUTES, self._routes(identity, calls, inbound)),
        }
        return _Configured(sets, frozenset(clusters.by_name))

    def _inbound(self, identity: Identity) -> Iterator[tuple[Destination, int]]:
        """What the identity answers for, with the application's port; two ports of a service may share one."""
        seen = set()
        for to in self._access.answered_by(identity):
            for target in to.targets:
                if (to.namespace, to.service, target) not in seen:
                    seen.add((to.namespace, to.service, target))
                    yield to, target

    def _clusters(self, identity: Identity, inbound: list[tuple[Destination, int]]) -> Iterator[Resource]:
        for to in self._access.callable_by(identity):
            yield self._kept(remote_cluster, to, identity=identity)
        for to, target in inbound:
            yield self._kept(local_cluster, to, target=target)
        if self._outline.egress:
            yield self._kept(passthrough_cluster)
        yield self._kept(metrics_cluster)

    def _listeners(
        self, identity: Identity, calls: Sequence[Call], inbound: list[tuple[Destination, int]]
    ) -> Iterator[Resource]:
        ipv6 = self._outline.ipv6
        outbound = [self._kept(outbound_chains, call.to, shares=call.shares) for call in calls]
        if self._outline.egress:
            outbound.append(passthrough_chain())
        # Envoy refuses a listener without a chain.
        if any(outbound):
            yield outbound_listener(outbound, ipv6=ipv6)
        if inbound:
            chains = (self._kept(inbound_chain, to, target=target, identity=identity) for to, target in inbound)
            yield inbound_listener(chains, ipv6=ipv6)
        yield self._kept(prometheus_listener, ipv6=ipv6)

    def _routes(
        self, identity: Identity, calls: Sequence[Call], inbound: list[tuple[Destination, int]]
    ) -> Iterator[Resource]:
        by_name: dict[str, list[bytes]] = defaultdict(list)
        for call in calls:
            to = call.to
            if to.protocol is Protocol.HTTP and to.dialled:
                # Only a caller in the service's own namespace has another form of its name.
                caller = identity.namespace if identity.namespace == to.namespace else ""
                host = self._kept(outbound_host, to, caller_namespace=caller, shares=call.shares)
                by_name[outbound_routes_name(to)].append(host)
        for name, virtual_hosts in by_name.items():
            yield outbound_routes(name, virtual_hosts=virtual_hosts)
        for to, target in inbound:
            if to.protocol is Protocol.HTTP:
                admitted = self._access.admitted(to, target=target, identity=identity)
                yield self._kept(inbound_routes, to, target=target, admitted=admitted, trust_domain=self._trust_domain)

    def _trust(self, identity: Identity, secrets: Secrets) -> ResourceSet:
        """Who the identity is and whom it trusts; made again when its certificate is renewed."""
        known = self._secrets.get(identity)
        if known is not None and known[0] == secrets:
            return known[1]
        made = ResourceSet.of(SECRET, self._secret_resources(identity, secrets))
        self._secrets[identity] = (secrets, made)
        return made

    def _secret_resources(self, identity: Identity, secrets: Secrets) -> Iterable[Resource]:
        yield certificate_secret(identity, secrets=secrets)
        yield inbound_roots_secret(identity, roots_pem=secrets.roots_pem)
        # All ports of a service have one and the same.
        services = {(to.namespace, to.service): to for to in reversed(self._access.callable_by(identity))}
        for to in services.values():
            yield self._kept(outbound_roots_secret, to, roots_pem=secrets.roots_pem, trust_domain=self._trust_domain)
        for to, target in self._inbound(identity):
            if to.protocol is Protocol.TCP:
                yield self._kept(
                    callers_secret,
                    to,
                    target=target,
                    admitted=self._access.admitted(to, target=target, identity=identity),
                    roots_pem=secrets.roots_pem,
                    trust_domain=self._trust_domain,
                )
