"""Exclusions of a pod -> iptables rules that redirect its TCP connections to the sidecar, but not UDP (DNS)."""

from collections.abc import Sequence
from typing import Final

from osm_probes.mesh.ports import INBOUND_PORT, OUTBOUND_PORT, PROXY_METRICS_PORT, TCP_PROBE_PORT
from osm_probes.xds.app_probes import HTTP_PROBE_PORTS

PROXY_UID: Final = 1500
_PROBE_PORTS: Final = (*HTTP_PROBE_PORTS.values(), TCP_PROBE_PORT)
_LOOPBACK: Final = "127.0.0.0/8"


def redirect_rules(
    *,
    excluded_inbound_ports: Sequence[int] = (),
    excluded_outbound_ports: Sequence[int] = (),
    excluded_outbound_ranges: Sequence[str] = (),
    included_outbound_ranges: Sequence[str] = (),
    proxy_uid: int = PROXY_UID,
) -> str:
    """The input of `iptables-restore --noflush` in the pod's network namespace, with the chains of Open Service Mesh.

    Ranges are IPv4 CIDRs. Exclusions take precedence over inclusions. With inclusions, no other outbound connection is
    redirected.
    """
    rules = [
        *_inbound(excluded_inbound_ports),
        *_outbound(proxy_uid),
        *(f"-A OSM_PROXY_OUTBOUND -d {cidr} -j RETURN" for cidr in excluded_outbound_ranges),
        *(f"-A OSM_PROXY_OUTBOUND -p tcp --dport {port} -j RETURN" for port in excluded_outbound_ports),
        *(
            f"-A OSM_PROXY_OUTBOUND -d {cidr} -j OSM_PROXY_OUT_REDIRECT"
            for cidr in included_outbound_ranges or ("0.0.0.0/0",)
        ),
    ]
    chains = ("OSM_PROXY_INBOUND", "OSM_PROXY_IN_REDIRECT", "OSM_PROXY_OUTBOUND", "OSM_PROXY_OUT_REDIRECT")
    return "\n".join(["*nat", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""])


def _inbound(excluded: Sequence[int]) -> list[str]:
    # Envoy itself has these ports. Their clients, Prometheus and the kubelet, have no certificate of the mesh.
    not_redirected = (PROXY_METRICS_PORT, *_PROBE_PORTS, *excluded)
    return [
        f"-A OSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-port {INBOUND_PORT}",
        "-A PREROUTING -p tcp -j OSM_PROXY_INBOUND",
        *(f"-A OSM_PROXY_INBOUND -p tcp --dport {port} -j RETURN" for port in not_redirected),
        "-A OSM_PROXY_INBOUND -p tcp -j OSM_PROXY_IN_REDIRECT",
    ]


def _outbound(uid: int) -> list[str]:
    return [
        f"-A OSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-port {OUTBOUND_PORT}",
        "-A OUTPUT -p tcp -j OSM_PROXY_OUTBOUND",
        # A pod calls itself by its service: app -> Envoy outbound -> the pod's own IP -> Envoy inbound -> app.
        f"-A OSM_PROXY_OUTBOUND -o lo ! -d {_LOOPBACK} -m owner --uid-owner {uid} -j OSM_PROXY_IN_REDIRECT",
        # A pod calls itself by its own IP: without the sidecar.
        f"-A OSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner {uid} -j RETURN",
        # Envoy's own connections must not be redirected to Envoy.
        f"-A OSM_PROXY_OUTBOUND -m owner --uid-owner {uid} -j RETURN",
        f"-A OSM_PROXY_OUTBOUND -d {_LOOPBACK} -j RETURN",
    ]
