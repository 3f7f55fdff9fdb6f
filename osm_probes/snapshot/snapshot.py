"""An immutable set of Envoy resources, each serialised once, with content hashes as versions."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


_SHORT_NAMES: Mapping[str, str] = {CLUSTER: "CDS", ENDPOINTS: "EDS", LISTENER: "LDS", ROUTES: "RDS", SECRET: "SDS"}


def short_name(type_url: str) -> str:
    """The usual abbreviation of the type's discovery service: CDS, EDS, LDS, RDS, SDS; `other` for any other type."""
    return _SHORT_NAMES.get(type_url, "other")


def content_hash(*parts: bytes) -> str:
    """A version. Equal parts have equal versions in every replica and after every restart."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. `body` is the serialised message itself, not the Any around it."""

    name: str
    type_url: str
    body: bytes
    version: str

    @classmethod
    def of(cls, name: str, type_url: str, body: bytes) -> "Resource":
        """A resource whose version is the hash of its body."""
        return cls(name, type_url, body, content_hash(body))


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between two sets of a type: new or modified resources, and names of removed ones; False if none.

    `encoded` caches the serialised change for each xDS variant, so that all streams send the same bytes. So a change
    belongs to one type, even if it is empty.
    """

    type_url: str
    changed: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()
    encoded: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __bool__(self) -> bool:
        """True if the sets differ."""
        return bool(self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class ResourceSet:
    """All resources of one type, sorted by name. `version` is the hash of all names and versions.

    Many streams share a set, so it caches what is derived from it, up to a limit.
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
        """A set of these resources. Raises ValueError if two have the same name, or one is of another type."""
        ordered = sorted(resources, key=lambda resource: resource.name)
        by_name = {resource.name: resource for resource in ordered}
        if len(by_name) != len(ordered):
            raise ValueError(f"two resources have the same name in {type_url}")
        if others := {resource.type_url for resource in ordered} - {type_url}:
            raise ValueError(f"a set of {type_url} has resources of {', '.join(sorted(others))}")
        parts = (f"{resource.name}={resource.version}".encode() for resource in ordered)
        return cls(type_url, MappingProxyType(by_name), content_hash(*parts))

    def select(self, names: frozenset[str]) -> "ResourceSet":
        """The resources with these names; names that do not exist are ignored."""
        if (selection := self._selections.get(names)) is None:
            if self.by_name.keys() <= names:
                return self
            selected = [self.by_name[name] for name in names if name in self.by_name]
            selection = _store(self._selections, names, ResourceSet.of(self.type_url, selected))
        return selection

    def without(self, names: Iterable[str]) -> "ResourceSet":
        """The set without the resources of these names."""
        removed = frozenset(names)
        if removed.isdisjoint(self.by_name):
            return self
        left = (resource for resource in self.by_name.values() if resource.name not in removed)
        return ResourceSet.of(self.type_url, left)

    def keeping_removed(self, old: "ResourceSet") -> "ResourceSet":
        """The set plus those resources of `old` that it no longer has."""
        removed = [old.by_name[name] for name in self.changes_since(old).removed]
        return ResourceSet.of(self.type_url, [*self.by_name.values(), *removed]) if removed else self

    def changes_since(self, old: "ResourceSet") -> Change:
        """The difference from `old` to this set. Raises ValueError if `old` is of another type."""
        if old.type_url != self.type_url:
            raise ValueError(f"{self.type_url} cannot be compared with {old.type_url}")
        if old.version == self.version:
            return Change(self.type_url)
        if (change := self._changes.get(old.version)) is None:
            changed = (new for new in self.by_name.values() if not _same(new, old.by_name.get(new.name)))
            removed = (name for name in old.by_name if name not in self.by_name)
            change = _store(self._changes, old.version, Change(self.type_url, tuple(changed), tuple(removed)))
        return change


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The configuration of one identity's proxies: a resource set for each type."""

    sets: Mapping[str, ResourceSet] = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> "Snapshot":
        """A snapshot of these resources. Raises ValueError if two of one type have the same name."""
        by_type: dict[str, list[Resource]] = {type_url: [] for type_url in PUSH_ORDER}
        for resource in resources:
            by_type[resource.type_url].append(resource)
        return cls(MappingProxyType({url: ResourceSet.of(url, members) for url, members in by_type.items()}))

    def reusing(self, old: "Snapshot") -> "Snapshot":
        """This snapshot, but with the sets of `old` that did not change: their caches stay filled."""
        sets = {url: _reuse(new, old.sets.get(url)) for url, new in self.sets.items()}
        return Snapshot(MappingProxyType(sets))


def _reuse(new: ResourceSet, old: ResourceSet | None) -> ResourceSet:
    return old if old is not None and old.version == new.version else new


def _same(one: Resource, other: Resource | None) -> bool:
    return other is not None and one.version == other.version


_CACHE_LIMIT = 32
K = TypeVar("K")
V = TypeVar("V")


def _store(cache: dict[K, V], key: K, value: V) -> V:
    # A proxy that keeps subscribing to other subsets must not fill the memory.
    if len(cache) >= _CACHE_LIMIT:
        cache.clear()
    cache[key] = value
    return value
