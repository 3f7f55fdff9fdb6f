"""Topology -> who may call whom, and which clusters the traffic goes to."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Protocol
from osm_probes.mesh.policy import Permission, Split
from osm_probes.xds.destination import ClusterWeight, Destination, single_cluster
from osm_probes.xds.resource_names import cluster_name
from osm_probes.xds.topology import Topology


@dataclass(frozen=True, slots=True)
class OutboundDestination:
    """A destination that a proxy may connect to, and the clusters that its traffic goes to."""

    destination: Destination
    clusters: tuple[ClusterWeight, ...]


class TrafficPolicy:
    """The permissions and splits of one topology. In permissive mode everybody may call every destination.

    Splits count in both modes. A split's traffic goes to the backends with the root service's port and protocol that
    the caller may call; the weights of the other backends are dropped. If no backend is left, it goes to the root
    service. A caller that may call a backend with a weight may also connect to the root service.
    """

    def __init__(self, topology: Topology) -> None:
        self._destinations = topology.destinations
        self._permissive = topology.permissive
        # Destinations are identified by their index in the topology.
        self._indices_of: dict[Identity, list[int]] = defaultdict(list)
        for index, destination in enumerate(topology.destinations):
            for identity in destination.identities:
                self._indices_of[identity].append(index)
        self._by_source: dict[Identity, list[Permission]] = defaultdict(list)
        self._by_destination: dict[Identity, list[Permission]] = defaultdict(list)
        for permission in topology.permissions:
            self._by_destination[permission.destination].append(permission)
            for source in permission.sources:
                self._by_source[source].append(permission)
        self._backends_of = dict(_split_backends(topology.destinations, topology.splits))
        # In permissive mode the same for every caller, so it is computed once.
        self._all_outbound = self._outbound(set(range(len(self._destinations)))) if topology.permissive else ()

    def callable_destinations(self, caller: Identity) -> Sequence[Destination]:
        """The destinations that it may call, in the topology's order."""
        if self._permissive:
            return self._destinations
        return [self._destinations[index] for index in sorted(self._permitted(caller))]

    def outbound_destinations(self, caller: Identity) -> Sequence[OutboundDestination]:
        """The destinations that it may connect to: those that it may call, and the root services of splits."""
        return self._all_outbound if self._permissive else self._outbound(self._permitted(caller))

    def inbound_destinations(self, identity: Identity) -> list[Destination]:
        """The destinations whose pods have this identity, in the topology's order."""
        return [self._destinations[index] for index in self._indices_of.get(identity, ())]

    def permissions_to_call(
        self, destination: Destination, *, target: int, identity: Identity
    ) -> tuple[Permission, ...] | None:
        """The permissions to call pods of `identity` as this destination, on their port `target`; None = all may."""
        if self._permissive:
            return None
        permissions = self._by_destination.get(identity, ())
        return tuple(permission for permission in permissions if _covers(permission, destination, target))

    def _permitted(self, caller: Identity) -> set[int]:
        return {
            index
            for permission in self._by_source.get(caller, ())
            for index in self._indices_of.get(permission.destination, ())
            if any(_covers(permission, self._destinations[index], port) for port in self._destinations[index].targets)
        }

    def _outbound(self, permitted: set[int]) -> tuple[OutboundDestination, ...]:
        roots = {
            root for root, backends in self._backends_of.items() if any(backend in permitted for backend, _ in backends)
        }
        return tuple(
            OutboundDestination(self._destinations[index], self._clusters(index, permitted))
            for index in sorted(permitted | roots)
        )

    def _clusters(self, index: int, permitted: set[int]) -> tuple[ClusterWeight, ...]:
        clusters = tuple(
            ClusterWeight(cluster_name(self._destinations[backend]), weight)
            for backend, weight in self._backends_of.get(index, ())
            if backend in permitted
        )
        return clusters or single_cluster(cluster_name(self._destinations[index]))


def _covers(permission: Permission, destination: Destination, target: int) -> bool:
    permitted = permission.requests if destination.protocol is Protocol.HTTP else permission.connections
    return bool(permitted) and (not permission.ports or target in permission.ports)


def _split_backends(
    destinations: tuple[Destination, ...], splits: tuple[Split, ...]
) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """The index of each root destination, with the indices and weights of its backends."""
    # A headless backend cannot take part: its cluster connects to the address that the caller chose, which is the
    # root's.
    index_of = {_key(to, to.service): index for index, to in enumerate(destinations) if not to.headless}
    weights_of = {(split.namespace, split.service): split.backends for split in splits}
    for index, root in enumerate(destinations):
        weights = weights_of.get((root.namespace, root.service), ())
        candidates = ((index_of.get(_key(root, service)), weight) for service, weight in weights)
        backends = tuple((backend, weight) for backend, weight in candidates if backend is not None)
        if backends:
            yield index, backends


def _key(destination: Destination, service: str) -> tuple[str, str, int, Protocol]:
    return destination.namespace, service, destination.number, destination.protocol
