"""Outline -> what an identity may call, where those calls go, and who may call it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Protocol
from osm_probes.mesh.policy import Permission, Split
from osm_probes.xds.destination import Destination, Share, whole
from osm_probes.xds.names import cluster_name
from osm_probes.xds.outline import Outline


@dataclass(frozen=True, slots=True)
class Call:
    """A destination that may be dialled, and the clusters that share its calls."""

    to: Destination
    shares: tuple[Share, ...]


class Access:
    """Answers about one outline. In permissive mode everybody may call everything, else what a permission covers.

    Splits count in both. Of a split's backends those share the calls that have the root's port, with its protocol, and
    that the caller may call; the others' shares are theirs. If none is left, calls go to the root itself. Who may call
    a backend with a share may dial the root, too.
    """

    def __init__(self, of: Outline) -> None:
        self._all = of.destinations
        self._permissive = of.permissive
        self._places: dict[Identity, list[int]] = defaultdict(list)
        for place, to in enumerate(of.destinations):
            for identity in to.identities:
                self._places[identity].append(place)
        self._by_source: dict[Identity, list[Permission]] = defaultdict(list)
        self._by_destination: dict[Identity, list[Permission]] = defaultdict(list)
        for permission in of.permissions:
            self._by_destination[permission.destination].append(permission)
            for source in permission.sources:
                self._by_source[source].append(permission)
        self._splits = dict(_backends(of.destinations, of.splits))
        # The same for everybody, so made once.
        self._everything = self._calls(set(range(len(of.destinations)))) if of.permissive else ()

    def callable_by(self, identity: Identity) -> Sequence[Destination]:
        """What it may call, in the outline's order."""
        if self._permissive:
            return self._all
        return [self._all[place] for place in sorted(self._permitted(identity))]

    def calls(self, identity: Identity) -> Sequence[Call]:
        """What it may dial, in the outline's order: all that it may call, and the roots of splits."""
        return self._everything if self._permissive else self._calls(self._permitted(identity))

    def _calls(self, permitted: set[int]) -> tuple[Call, ...]:
        roots = {root for root, backends in self._splits.items() if any(place in permitted for place, _ in backends)}
        return tuple(Call(self._all[place], self._shares(place, permitted)) for place in sorted(permitted | roots))

    def answered_by(self, identity: Identity) -> list[Destination]:
        """What it answers for, in the outline's order."""
        return [self._all[place] for place in self._places.get(identity, ())]

    def admitted(self, to: Destination, *, target: int, identity: Identity) -> tuple[Permission, ...] | None:
        """The permissions to call `identity` as this destination, at this port of its pod; None = everybody may."""
        if self._permissive:
            return None
        return tuple(each for each in self._by_destination.get(identity, ()) if _covers(each, to, target))

    def _permitted(self, identity: Identity) -> set[int]:
        return {
            place
            for permission in self._by_source.get(identity, ())
            for place in self._places.get(permission.destination, ())
            if any(_covers(permission, self._all[place], target) for target in self._all[place].targets)
        }

    def _shares(self, place: int, permitted: set[int]) -> tuple[Share, ...]:
        backends = self._splits.get(place, ())
        shares = (Share(cluster_name(self._all[each]), weight) for each, weight in backends if each in permitted)
        return tuple(shares) or whole(cluster_name(self._all[place]))


def _covers(permission: Permission, to: Destination, target: int) -> bool:
    asked = permission.requests if to.protocol is Protocol.HTTP else permission.connections
    return bool(asked) and (not permission.ports or target in permission.ports)


def _backends(
    destinations: tuple[Destination, ...], splits: tuple[Split, ...]
) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """The places of roots, each with those of its backends and their weights."""
    # What is headless is called at the pod that was dialled, and the root's callers dial no pod of it.
    known = {_key(to, to.service): place for place, to in enumerate(destinations) if not to.headless}
    wanted = {(split.namespace, split.service): split.backends for split in splits}
    for place, to in enumerate(destinations):
        found = ((known.get(_key(to, name)), weight) for name, weight in wanted.get((to.namespace, to.service), ()))
        backends = tuple((backend, weight) for backend, weight in found if backend is not None)
        if backends:
            yield place, backends


def _key(to: Destination, service: str) -> tuple[str, str, int, Protocol]:
    return to.namespace, service, to.number, to.protocol
