"""Vocabulary: the whole mesh as one value; what sources make and the publisher reads."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.policy import Ignored, Permission, Split
from osm_probes.mesh.settings import Settings


class Protocol(enum.Enum):
    """What is spoken on a service port, as far as the proxy cares."""

    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address that answers for a service port: an IP and the port on the pod."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service: `number` is what callers dial, each endpoint has the pod's own port.

    `target` is the port on the pods (for a service without endpoints, what the manifest says). Sorted endpoints.
    """

    number: int
    target: int
    protocol: Protocol
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A service. `addresses`: its cluster IPs, none if headless. `identities`: who answers for it, sorted."""

    namespace: str
    name: str
    ports: tuple[ServicePort, ...]
    addresses: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A pod with a sidecar: its uuid (label osm-proxy-uuid) and the pod's names."""

    uuid: str
    namespace: str
    pod: str
    identity: Identity
    address: str = ""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of the mesh: what it says about the injection of sidecars, in labels and annotations of ours."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Mesh:
    """Everything that decides what proxies are told. Services sorted by namespace and name; proxies by their keys.

    The key of a proxy is its uuid with its identity: whoever gives a pod another's uuid shuts nobody out.
    `refused`: identities that are left out since they are misleading. `permissions` count while the settings are not
    permissive, `splits` (one for a service) always; both sorted. `ignored`: policies that have no effect.
    """

    services: tuple[Service, ...] = ()
    proxies: Mapping[tuple[str, Identity], Proxy] = field(default_factory=dict)
    identities: frozenset[Identity] = frozenset()
    refused: frozenset[Identity] = frozenset()
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    permissions: tuple[Permission, ...] = ()
    splits: tuple[Split, ...] = ()
    ignored: frozenset[Ignored] = frozenset()

    def has_proxy(self, uuid: str, *, identity: Identity) -> bool:
        """Whether a pod of this identity has the proxy with this uuid."""
        return (uuid, identity) in self.proxies
