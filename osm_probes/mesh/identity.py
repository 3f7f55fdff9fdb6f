"""Vocabulary: who a workload is, and how a proxy's certificate says it."""

import re
from dataclasses import dataclass

from osm_probes.foundation.errors import OsmError

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
SIDECAR = "sidecar"
CANARY = "canary"


class UnknownIdentityError(OsmError):
    """A name says no identity of this mesh."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A service account: what a workload is to the mesh. All proxies with one identity get one configuration."""

    namespace: str
    service_account: str

    def principal(self, trust_domain: str) -> str:
        """The name in a workload certificate: `<service account>.<namespace>.<trust domain>`."""
        return f"{self.service_account}.{self.namespace}.{trust_domain}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service_account}"


@dataclass(frozen=True, slots=True)
class ProxyName:
    """What the common name of a proxy's certificate says: which proxy (uuid), of which kind, for whom."""

    uuid: str
    kind: str
    identity: Identity

    def common_name(self, trust_domain: str) -> str:
        """`<uuid>.<kind>.<service account>.<namespace>.<trust domain>`, as the contract has it."""
        return f"{self.uuid}.{self.kind}.{self.identity.principal(trust_domain)}"

    @classmethod
    def parse(cls, common_name: str, *, trust_domain: str) -> "ProxyName":
        """Read a common name. Raises UnknownIdentityError where it is no proxy of this trust domain."""
        stem = common_name.removesuffix(f".{trust_domain}")
        # A service account's name may hold dots; uuid and kind before it and the namespace behind it may not.
        uuid, _, rest = stem.partition(".")
        kind, _, rest = rest.partition(".")
        account, _, namespace = rest.rpartition(".")
        known = kind in (SIDECAR, CANARY) and _UUID.match(uuid) and _LABEL.match(namespace)
        if stem == common_name or not known or not all(_LABEL.match(part) for part in account.split(".")):
            raise UnknownIdentityError(
                f"{common_name!r} is not <uuid>.<kind>.<service account>.<namespace>.{trust_domain}"
            )
        return cls(uuid, kind, Identity(namespace, account))
