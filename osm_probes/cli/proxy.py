"""`osm proxy list`, `osm proxy get`: the proxies that are connected to the controllers, and a proxy's admin port."""

import argparse
import asyncio
from http import HTTPStatus
from typing import Final

import msgspec

from osm_probes.cli.api_client import run_with_client
from osm_probes.cli.control_planes import list_control_planes
from osm_probes.cli.debug_port import get_debug_json
from osm_probes.cli.objects import Pod
from osm_probes.cli.output import Console
from osm_probes.foundation.durations import age
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.port_forward import PodPort, http_get
from osm_probes.mesh.names import CONTROLLER
from osm_probes.mesh.ports import ADMIN_PORT, DEBUG_PROXIES_PATH
from osm_probes.mesh.proxy_status import ConnectedProxies, ProxyStatus

_TYPES: Final = ("CDS", "EDS", "LDS", "RDS", "SDS")
_COLUMNS: Final = ("POD", "SERVICE ACCOUNT", "CONTROLLER", "CONNECTED", *_TYPES, "PROBLEM", "LAST NACK")
_VERSION_LENGTH: Final = 8


class ProxyError(OsmError):
    """A request to a proxy or to a controller failed; the text says which and why."""


class ProxyRow(msgspec.Struct, frozen=True):
    """A proxy, and the controller to which it is connected."""

    controller: str
    proxy: ProxyStatus

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        proxy = self.proxy
        versions = (proxy.accepted.get(type_name, "-")[:_VERSION_LENGTH] for type_name in _TYPES)
        rejected = proxy.rejected
        nack = f"{rejected.type} {rejected.version[:_VERSION_LENGTH]}: {rejected.reason}" if rejected else "-"
        problem = "; ".join([*(it.problem for it in proxy.rejecting), *(it.problem for it in proxy.stuck)]) or "-"
        connected = age(proxy.connected)
        return (proxy.pod_name, proxy.service_account, self.controller, connected, *versions, problem, nack)


def list_proxies(arguments: argparse.Namespace) -> int:
    """Print the proxies of all controllers. The exit status is 1 if the request to a controller failed."""
    return run_with_client(
        arguments,
        lambda client: _list(
            client, namespace=arguments.osm_namespace, output_format=arguments.output, console=Console()
        ),
    )


def get_from_proxy(arguments: argparse.Namespace) -> int:
    """Print a page of a proxy's admin port."""
    namespace, _, pod = arguments.pod.rpartition("/")
    port = PodPort(namespace or arguments.namespace, pod, ADMIN_PORT)
    return run_with_client(arguments, lambda client: _get(client, port, f"/{arguments.page}", console=Console()))


async def get_connected_proxies(client: KubernetesClient, pod: Pod) -> ConnectedProxies:
    """The proxies that are connected to a controller. Raises KubernetesError."""
    return await get_debug_json(client, pod, DEBUG_PROXIES_PATH, type=ConnectedProxies)


async def _list(client: KubernetesClient, *, namespace: str, output_format: str, console: Console) -> int:
    with console.progress("querying the controllers"):
        control_planes = await list_control_planes(client, namespace=namespace)
        controllers = [pod for plane in control_planes for pod in plane.pods_of(CONTROLLER)]
        results = await asyncio.gather(*(_connected_proxies(client, pod) for pod in controllers))
    if not controllers:
        raise ProxyError("no pods of osm-controller found: see osm mesh list")
    errors = [result for result in results if isinstance(result, ProxyError)]
    rows = [row for result in results if not isinstance(result, ProxyError) for row in result]
    rows.sort(key=lambda row: (row.proxy.namespace, row.proxy.pod, row.proxy.uuid))
    if output_format != "table":
        console.print_document(rows, output_format=output_format)
    elif rows:
        console.print_table(_COLUMNS, [row.cells() for row in rows])
    elif not errors:
        console.print("No proxies are connected")
    for error in errors:
        console.print_error(error)
    return 1 if errors else 0


async def _connected_proxies(client: KubernetesClient, pod: Pod) -> list[ProxyRow] | ProxyError:
    name = pod.metadata.name
    try:
        connected = await get_connected_proxies(client, pod)
    except KubernetesError as error:
        return ProxyError(f"cannot list the proxies of {name}: {error}")
    return [ProxyRow(name, proxy) for proxy in connected.proxies]


async def _get(client: KubernetesClient, port: PodPort, path: str, *, console: Console) -> int:
    proxy = f"proxy of pod {port.namespace}/{port.pod}"
    try:
        response = await http_get(client, port, path)
    except KubernetesError as error:
        reason = error.explain(f"get and create pods/portforward in namespace {port.namespace}")
        raise ProxyError(f"{proxy}: {reason}") from error
    text = response.content.decode(errors="replace").rstrip("\n")
    if response.status != HTTPStatus.OK:
        raise ProxyError(f"{proxy}: HTTP status {response.status}: {text[:200]}")
    console.print(text)
    return 0
