"""Vocabulary: who a workload is, and how a proxy's certificate says it."""

import re
from dataclasses import dataclass

from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.labels import UUID

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
SIDECAR = "sidecar"
CANARY = "canary"
_CONTROL_PLANE = ("osm-controller", "osm-injector")


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

    @property
    def misleading(self) -> bool:
        """True if its principal could be taken for a proxy's name, the controller's or the injector's.

        Those begin with a uuid, or the program's name, and go on with a dot. A service account's name may do so, too:
        `<uuid>.canary.x`, or `osm-controller.osm-system` in a namespace `svc`. Whatever the trust domain, as long as it
        does not begin with `svc` (the programs' flags see to that), only such service accounts are in the way.
        """
        first, dot, _ = self.service_account.partition(".")
        return bool(dot) and (first in _CONTROL_PLANE or UUID.match(first) is not None)

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
        known = kind in (SIDECAR, CANARY) and UUID.match(uuid) and _LABEL.match(namespace)
        if stem == common_name or not known or not all(_LABEL.match(part) for part in account.split(".")):
            raise UnknownIdentityError(
                f"{common_name!r} is not <uuid>.<kind>.<service account>.<namespace>.{trust_domain}"
            )
        return cls(uuid, kind, Identity(namespace, account))
