"""Exclusions of a pod -> iptables rules that redirect its TCP connections to the sidecar, but not UDP (DNS).

IPv4 and IPv6 have the same chains. ICMPv6, and with it neighbour discovery, is not TCP and stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.mesh.ports import INBOUND_PORT, OUTBOUND_PORT, PROXY_METRICS_PORT, TCP_PROBE_PORT
from osm_probes.xds.app_probes import HTTP_PROBE_PORTS

PROXY_UID: Final = 1500
IPV6_RESTORE: Final = "ip6tables-restore"
"""The command that sets the IPv6 rules. An init container without it was injected without IPv6 rules."""
_PROBE_PORTS: Final = (*HTTP_PROBE_PORTS.values(), TCP_PROBE_PORT)

# Only the shell's own commands: the image of the init container may have no others. In /proc/net/if_inet6 the fourth
# field is the scope: 10 = the host (::1), 20 = the link. Every interface with IPv6 has a link-local address.
_SCRIPT: Final = """\
set -e
iptables-restore --noflush <<'EOF'
{ipv4}EOF
{restore} --noflush <<'EOF' && exit
{ipv6}EOF
if [ -e /proc/net/if_inet6 ]; then
  while read -r address _ _ scope _ device; do
    case $scope in 10 | 20) continue ;; esac
    echo "osm-init: cannot set IPv6 rules, but $device has a global IPv6 address ($address): its connections would\
 bypass the sidecar. Load the kernel module nft_chain_nat or ip6table_nat on the node, use an init image with\
 {restore}, or give the pod no IPv6 address" >&2
    exit 1
  done </proc/net/if_inet6
fi
echo "osm-init: cannot set IPv6 rules; the pod needs none, because it has no global IPv6 address"
"""


@dataclass(frozen=True, slots=True)
class RedirectRules:
    """The input of `iptables-restore --noflush` and of `ip6tables-restore --noflush` in the pod's network namespace."""

    ipv4: str
    ipv6: str

    @property
    def script(self) -> str:
        """The shell script that sets the rules.

        It fails if the IPv6 rules cannot be set, unless the pod has no global IPv6 address.
        """
        return _SCRIPT.format(ipv4=self.ipv4, ipv6=self.ipv6, restore=IPV6_RESTORE)


def redirect_rules(
    *,
    excluded_inbound_ports: Sequence[int] = (),
    excluded_outbound_ports: Sequence[int] = (),
    excluded_outbound_ranges: Sequence[str] = (),
    included_outbound_ranges: Sequence[str] = (),
    proxy_uid: int = PROXY_UID,
) -> RedirectRules:
    """The rules of a pod, with the chains of Open Service Mesh.

    Ranges are CIDRs of both address families. Exclusions take precedence over inclusions. With inclusions, no other
    outbound connection is redirected: with IPv4 ranges only, no IPv6 connection.
    """

    def rules(loopback: str, everything: str, *, ipv6: bool) -> str:
        included = included_outbound_ranges or (everything,)
        return _rules(
            *_inbound(excluded_inbound_ports),
            *_outbound(proxy_uid, loopback=loopback),
            *(f"-A OSM_PROXY_OUTBOUND -d {cidr} -j RETURN" for cidr in _of_family(excluded_outbound_ranges, ipv6=ipv6)),
            *(f"-A OSM_PROXY_OUTBOUND -p tcp --dport {port} -j RETURN" for port in excluded_outbound_ports),
            *(f"-A OSM_PROXY_OUTBOUND -d {cidr} -j OSM_PROXY_OUT_REDIRECT" for cidr in _of_family(included, ipv6=ipv6)),
        )

    return RedirectRules(rules("127.0.0.0/8", "0.0.0.0/0", ipv6=False), rules("::1/128", "::/0", ipv6=True))


def _rules(*rules: str) -> str:
    chains = ("OSM_PROXY_INBOUND", "OSM_PROXY_IN_REDIRECT", "OSM_PROXY_OUTBOUND", "OSM_PROXY_OUT_REDIRECT")
    return "\n".join(["*nat", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""])


def _of_family(ranges: Sequence[str], *, ipv6: bool) -> list[str]:
    return [cidr for cidr in ranges if (":" in cidr) is ipv6]


def _inbound(excluded: Sequence[int]) -> list[str]:
    # Envoy itself has these ports. Their clients, Prometheus and the kubelet, have no certificate of the mesh.
    not_redirected = (PROXY_METRICS_PORT, *_PROBE_PORTS, *excluded)
    return [
        f"-A OSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-port {INBOUND_PORT}",
        "-A PREROUTING -p tcp -j OSM_PROXY_INBOUND",
        *(f"-A OSM_PROXY_INBOUND -p tcp --dport {port} -j RETURN" for port in not_redirected),
        "-A OSM_PROXY_INBOUND -p tcp -j OSM_PROXY_IN_REDIRECT",
    ]


def _outbound(uid: int, *, loopback: str) -> list[str]:
    return [
        f"-A OSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-port {OUTBOUND_PORT}",
        "-A OUTPUT -p tcp -j OSM_PROXY_OUTBOUND",
        # A pod calls itself by its service: app -> Envoy outbound -> the pod's own IP -> Envoy inbound -> app.
        f"-A OSM_PROXY_OUTBOUND -o lo ! -d {loopback} -m owner --uid-owner {uid} -j OSM_PROXY_IN_REDIRECT",
        # A pod calls itself by its own IP: without the sidecar.
        f"-A OSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner {uid} -j RETURN",
        # Envoy's own connections must not be redirected to Envoy.
        f"-A OSM_PROXY_OUTBOUND -m owner --uid-owner {uid} -j RETURN",
        f"-A OSM_PROXY_OUTBOUND -d {loopback} -j RETURN",
    ]
