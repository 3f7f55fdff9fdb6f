"""The whole mesh as one value. Sources make it, the publisher reads it."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.policy import IgnoredPolicy, Permission, Split
from osm_probes.mesh.settings import Settings


class Protocol(enum.Enum):
    """The protocol of a service port, as far as it changes the proxy's configuration."""

    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One pod behind a service port: its IP address and its port.

    alternatives: the pod's further addresses behind the same service port, in a dual-stack cluster.
    """

    address: str
    port: int
    alternatives: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, the first one first."""
        return (self.address, *self.alternatives)


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service: clients connect to `number`; each endpoint has the pod's own port.

    target: the port on the pods; for a service without endpoints, the one in the manifest. endpoints: sorted.
    """

    number: int
    target: int
    protocol: Protocol
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A service. addresses: its cluster IPs, none if headless. identities: those of its pods, sorted."""

    namespace: str
    name: str
    ports: tuple[ServicePort, ...]
    addresses: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A pod with a sidecar: the proxy's uuid (label osm-proxy-uuid), and the pod's name, identity and addresses."""

    uuid: str
    namespace: str
    pod: str
    identity: Identity
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamespaceMetadata:
    """The labels and annotations of a namespace that decide whether its pods get sidecars."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Everything that decides the configuration of proxies.

    services: sorted by namespace and name. proxies: the key is the uuid with the identity, so that a pod with a copied
    uuid and another identity does not replace the original. ambiguous_identities: left out of the mesh, see
    `Identity.ambiguous`. permissions: they count only if the settings are not permissive. splits: they always count,
    one for each service. ignored_policies: those that have no effect. Permissions and splits are sorted.
    """

    services: tuple[Service, ...] = ()
    proxies: Mapping[tuple[str, Identity], Proxy] = field(default_factory=dict)
    identities: frozenset[Identity] = frozenset()
    ambiguous_identities: frozenset[Identity] = frozenset()
    namespaces: Mapping[str, NamespaceMetadata] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    permissions: tuple[Permission, ...] = ()
    splits: tuple[Split, ...] = ()
    ignored_policies: frozenset[IgnoredPolicy] = frozenset()

    def has_proxy(self, uuid: str, *, identity: Identity) -> bool:
        """True if a pod with this identity has the proxy with this uuid."""
        return (uuid, identity) in self.proxies
