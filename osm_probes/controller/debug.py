"""The ADS's streams -> the JSON of /debug/proxies on the debug port."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from osm_probes.ads.events import ConnectedProxy, Rejection, UnansweredResponse
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.proxy_status import ConnectedProxies, ProxyStatus, RejectedVersion, UnansweredVersion
from osm_probes.snapshot.snapshot import short_name

PROXIES_PAGE: Final = "proxies"
"""The name of the page by which the judge asks for it."""

_MAX_PROXIES: Final = 10_000


def proxies_page(proxies: Sequence[ConnectedProxy], mesh: Mesh | None) -> str:
    """The JSON. It may be called in any thread: its arguments do not change."""
    statuses = [_status(proxy, mesh) for proxy in islice(proxies, _MAX_PROXIES)]
    return msgspec.json.encode(ConnectedProxies(len(proxies), statuses)).decode()


def _status(proxy: ConnectedProxy, mesh: Mesh | None) -> ProxyStatus:
    name = proxy.name
    known = mesh.proxies.get((name.uuid, name.identity)) if mesh else None
    return ProxyStatus(
        uuid=name.uuid,
        namespace=name.identity.namespace,
        service_account=name.identity.service_account,
        pod=known.pod if known else "",
        protocol=proxy.form,
        connected=round(proxy.age, 1),
        accepted={short_name(type_url): version for type_url, version in proxy.accepted.items()},
        rejected=_rejected(proxy.rejection) if proxy.rejection else None,
        rejecting=[_rejected(rejection) for rejection in proxy.rejecting],
        stuck=[_unanswered(response) for response in proxy.stuck],
    )


def _rejected(rejection: Rejection) -> RejectedVersion:
    since = rejection.since.replace(microsecond=0)
    return RejectedVersion(short_name(rejection.type_url), rejection.version, rejection.detail, since)


def _unanswered(response: UnansweredResponse) -> UnansweredVersion:
    return UnansweredVersion(short_name(response.type_url), response.version, round(response.seconds, 1))
