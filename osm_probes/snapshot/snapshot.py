"""Vocabulary: an immutable, consistent set of Envoy resources, each serialised once, with content-hash versions."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

TYPE_PREFIX = "type.googleapis.com/"
CLUSTER = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRET = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

PUSH_ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET)
"""Make before break: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, "Eventual consistency"."""


_SHORT: Mapping[str, str] = {CLUSTER: "CDS", ENDPOINTS: "EDS", LISTENER: "LDS", ROUTES: "RDS", SECRET: "SDS"}


def short_name(type_url: str) -> str:
    """What people call the discovery of a type: CDS, EDS, LDS, RDS, SDS, or `other`."""
    return _SHORT.get(type_url, "other")


def content_hash(*parts: bytes) -> str:
    """A version: equal bytes have equal versions, in each replica and after each restart."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: `body` is the serialised message itself (not the Any around it), `version` its content hash."""

    name: str
    type_url: str
    body: bytes
    version: str

    @classmethod
    def of(cls, name: str, type_url: str, body: bytes) -> "Resource":
        """A resource with its version."""
        return cls(name, type_url, body, content_hash(body))


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two sets: resources that are new or other, and names that are gone; false if nothing.

    `encoded`: the bytes that say it, by form, for whoever sends it: made once, shared by all streams.
    """

    changed: tuple[Resource, ...]
    removed: tuple[str, ...]
    encoded: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __bool__(self) -> bool:
        """True if anything differs."""
        return bool(self.changed or self.removed)


NOTHING = Change((), ())


@dataclass(frozen=True, slots=True)
class ResourceSet:
    """All resources of one type, by name in sorted order; the version is that of the whole.

    Sets are shared by many streams, so what is derived from one is remembered in it (a few, the rest is made again).
    """

    type_url: str
    by_name: Mapping[str, Resource]
    version: str
    encoded: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)
    _selections: dict[frozenset[str], "ResourceSet"] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _changes: dict[str, Change] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, type_url: str, resources: Iterable[Resource] = ()) -> "ResourceSet":
        """A set of resources; two of one name are a fault of the builder: ValueError."""
        ordered = sorted(resources, key=lambda resource: resource.name)
        by_name = {resource.name: resource for resource in ordered}
        if len(by_name) != len(ordered):
            raise ValueError(f"two resources of one name in {type_url}")
        parts = (f"{resource.name}={resource.version}".encode() for resource in ordered)
        return cls(type_url, MappingProxyType(by_name), content_hash(*parts))

    def select(self, names: frozenset[str]) -> "ResourceSet":
        """Those of these names that exist."""
        if (selection := self._selections.get(names)) is None:
            if self.by_name.keys() <= names:
                return self
            chosen = [self.by_name[name] for name in names if name in self.by_name]
            selection = _remember(self._selections, names, ResourceSet.of(self.type_url, chosen))
        return selection

    def without(self, names: Iterable[str]) -> "ResourceSet":
        """All but those of these names."""
        gone = frozenset(names)
        if gone.isdisjoint(self.by_name):
            return self
        return ResourceSet.of(self.type_url, (each for each in self.by_name.values() if each.name not in gone))

    def keeping(self, old: "ResourceSet") -> "ResourceSet":
        """This set and what only the old one has."""
        stale = [old.by_name[name] for name in self.since(old).removed]
        return ResourceSet.of(self.type_url, [*self.by_name.values(), *stale]) if stale else self

    def since(self, old: "ResourceSet") -> Change:
        """What differs from the old set."""
        if old.version == self.version:
            return NOTHING
        if (change := self._changes.get(old.version)) is None:
            changed = (each for each in self.by_name.values() if not _same(each, old.by_name.get(each.name)))
            removed = (name for name in old.by_name if name not in self.by_name)
            change = _remember(self._changes, old.version, Change(tuple(changed), tuple(removed)))
        return change


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one identity's proxies are told: a resource set for each type."""

    sets: Mapping[str, ResourceSet] = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> "Snapshot":
        """Sort resources into their sets. An assignment of endpoints has its cluster's name."""
        by_type: dict[str, list[Resource]] = {type_url: [] for type_url in PUSH_ORDER}
        for resource in resources:
            by_type[resource.type_url].append(resource)
        clusters = {cluster.name: cluster.version for cluster in by_type[CLUSTER]}
        by_type[ENDPOINTS] = [_of_cluster(each, clusters.get(each.name)) for each in by_type[ENDPOINTS]]
        return cls(MappingProxyType({url: ResourceSet.of(url, members) for url, members in by_type.items()}))

    def keeping(self, old: "Snapshot") -> "Snapshot":
        """This snapshot, with the old one's objects where nothing changed, so that what they remember stays."""
        sets = {url: _older(mine, old.sets.get(url)) for url, mine in self.sets.items()}
        return Snapshot(MappingProxyType(sets))


def _of_cluster(endpoints: Resource, cluster_version: str | None) -> Resource:
    """Endpoints whose version changes with their cluster's.

    A cluster that changed warms until its endpoints are sent again, changed or not, also across a reconnect:
    https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, "Resource warming".
    """
    if cluster_version is None:
        return endpoints
    return replace(endpoints, version=content_hash(endpoints.version.encode(), cluster_version.encode()))


def _older(mine: ResourceSet, old: ResourceSet | None) -> ResourceSet:
    return old if old is not None and old.version == mine.version else mine


def _same(one: Resource, other: Resource | None) -> bool:
    return other is not None and one.version == other.version


_REMEMBERED = 32
K = TypeVar("K")
V = TypeVar("V")


def _remember(memory: dict[K, V], key: K, value: V) -> V:
    # A proxy that asks for ever other subsets must not fill the memory.
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = value
    return value
