"""The identities of workloads, and the names in proxies' certificates."""

import re
from dataclasses import dataclass
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.labels import PROXY_UUID_PATTERN
from osm_probes.mesh.names import CONTROLLER, INJECTOR

SIDECAR = "sidecar"
CANARY = "canary"
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_CONTROL_PLANE = (CONTROLLER, INJECTOR)


class UnknownIdentityError(OsmError):
    """A certificate's name is not the name of a proxy of this mesh."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A service account: the identity of a workload. All proxies with the same identity get the same configuration."""

    namespace: str
    service_account: str

    def principal(self, trust_domain: str) -> str:
        """The name in a workload certificate: `<service account>.<namespace>.<trust domain>`."""
        return f"{self.service_account}.{self.namespace}.{trust_domain}"

    @property
    def ambiguous(self) -> bool:
        """True if its principal could be mistaken for the name of a proxy, the controller or the injector.

        Those names begin with a uuid, or with the program's name, followed by a dot. A service account's name may begin
        the same way: `<uuid>.sidecar.x`, or `osm-controller.osm-system` in a namespace `svc`. Only such names collide,
        if the trust domain does not begin with `svc`, which the programs' flags reject.
        """
        first, dot, _ = self.service_account.partition(".")
        return bool(dot) and (first in _CONTROL_PLANE or PROXY_UUID_PATTERN.match(first) is not None)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service_account}"


@dataclass(frozen=True, slots=True)
class ProxyName:
    """The content of a proxy certificate's common name: the proxy's uuid, its kind and its identity.

    kind: SIDECAR, or CANARY for the canary's streams. Only names of kind SIDECAR are in certificates.
    """

    uuid: str
    kind: str
    identity: Identity

    def common_name(self, trust_domain: str) -> str:
        """`<uuid>.<kind>.<service account>.<namespace>.<trust domain>`, as in Open Service Mesh."""
        return f"{self.uuid}.{self.kind}.{self.identity.principal(trust_domain)}"

    @classmethod
    def parse(cls, common_name: str, *, trust_domain: str) -> "ProxyName":
        """Parse a common name. Raises UnknownIdentityError if it does not name a proxy of this trust domain."""
        stem = common_name.removesuffix(f".{trust_domain}")
        # A service account's name may contain dots; uuid, kind and namespace may not.
        uuid, _, rest = stem.partition(".")
        kind, _, rest = rest.partition(".")
        account, _, namespace = rest.rpartition(".")
        valid = kind == SIDECAR and PROXY_UUID_PATTERN.match(uuid) and _DNS_LABEL.match(namespace)
        if stem == common_name or not valid or not all(_DNS_LABEL.match(part) for part in account.split(".")):
            raise UnknownIdentityError(
                f"{common_name!r} is not <uuid>.{SIDECAR}.<service account>.<namespace>.{trust_domain}"
            )
        return cls(uuid, kind, Identity(namespace, account))


class CanaryName:
    """The name in the canary's certificate.

    No other certificate can have it: names of service accounts, namespaces and trust domains have no underscore.
    """

    @staticmethod
    def common_name(trust_domain: str) -> str:
        """`osm_canary.<trust domain>`."""
        return f"osm_canary.{trust_domain}"


CANARY_PROXY: Final = ProxyName("", CANARY, Identity("", ""))
"""The proxy that the canary's streams count as. It has no uuid and no identity."""
