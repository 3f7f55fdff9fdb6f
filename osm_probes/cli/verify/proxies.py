"""Check `Proxies`: the proxies that are connected to a controller have the newest configuration.

A proxy with a problem warns, but does not fail the check: the control plane itself works.
"""

from collections.abc import Iterator
from typing import Final

from osm_probes.cli.verify.result import Result, success, unknown, warning
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.proxy_status import ConnectedProxies, ProxyStatus

_MAX_LINES: Final = 10


def check_proxies(connected: ConnectedProxies | KubernetesError) -> Result:
    """Check the proxies that a controller's pod lists."""
    name = "Proxies"
    if isinstance(connected, KubernetesError):
        return unknown(name, str(connected))
    lines = [line for proxy in connected.proxies for line in _problems(proxy)]
    if not lines:
        return success(name)
    more = [f"and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
    return warning(name, *lines[:_MAX_LINES], *more, suggestions=["osm proxy list"])


def _problems(proxy: ProxyStatus) -> Iterator[str]:
    for rejected in proxy.rejecting:
        reason = f"the proxy rejected version {rejected.version}: {rejected.reason}"
        yield f"{proxy.pod_name}: {rejected.problem}: {reason}"
    for response in proxy.stuck:
        yield f"{proxy.pod_name}: {response.problem}: the proxy gets no updates of this type"
