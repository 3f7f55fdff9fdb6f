"""The ADS's proxies -> what /debug/proxies says and `osm proxy list` reads: no key, no configuration."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from osm_probes.ads.events import ConnectedProxy, Rejection
from osm_probes.foundation.text import legible
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.proxy_status import Connected, ProxyFacts, Refused
from osm_probes.snapshot.snapshot import short_name

TOPIC: Final = "proxies"
_MOST: Final = 10_000
_LONGEST: Final = 500


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
