"""The ADS's proxies -> what /debug/proxies says and `osm proxy list` reads: no key, no configuration."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from osm_probes.ads.facts import ConnectedProxy, Rejection
from osm_probes.foundation.text import legible
from osm_probes.mesh.mesh import Mesh
from osm_probes.snapshot.snapshot import short_name

TOPIC: Final = "proxies"
PATH: Final = "/debug/proxies"
_MOST: Final = 10_000
_LONGEST: Final = 500


class Refused(msgspec.Struct, frozen=True):
    """The last version that a proxy rejected, and its words."""

    type: str
    version: str
    reason: str


class ProxyFacts(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A proxy with an open stream: `accepted` versions by type, `connected` in seconds."""

    uuid: str
    namespace: str
    service_account: str
    pod: str
    protocol: str
    connected: float
    accepted: Mapping[str, str]
    rejected: Refused | None = None


class Connected(msgspec.Struct, frozen=True):
    """All of them are `count`; told are 10,000 at most."""

    count: int
    proxies: list[ProxyFacts]


def connected_json(proxies: Sequence[ConnectedProxy], mesh: Mesh | None) -> str:
    """The text of /debug/proxies. Safe beside the event loop: what it is given is not changed any more."""
    told = [_facts(each, mesh) for each in islice(proxies, _MOST)]
    return msgspec.json.encode(Connected(len(proxies), told)).decode()


def _facts(proxy: ConnectedProxy, mesh: Mesh | None) -> ProxyFacts:
    name = proxy.name
    known = mesh.proxies.get((name.uuid, name.identity)) if mesh else None
    return ProxyFacts(
        uuid=name.uuid,
        namespace=name.identity.namespace,
        service_account=name.identity.service_account,
        pod=known.pod if known else "",
        protocol=proxy.form,
        connected=round(proxy.age, 1),
        accepted={short_name(type_url): version for type_url, version in proxy.accepted.items()},
        rejected=_refused(proxy.rejection),
    )


def _refused(rejection: Rejection | None) -> Refused | None:
    if rejection is None:
        return None
    return Refused(short_name(rejection.type_url), rejection.version, legible(rejection.detail)[:_LONGEST])
