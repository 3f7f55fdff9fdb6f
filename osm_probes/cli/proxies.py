"""`osm proxy list`, `osm proxy get`: who is connected to which controller, and what a proxy has."""

import argparse
import asyncio
from http import HTTPStatus
from typing import Final

import msgspec

from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.console import Console
from osm_probes.cli.control_planes import CONTROLLER, control_planes
from osm_probes.cli.objects import Pod
from osm_probes.cli.pod_http import pod_json
from osm_probes.foundation.durations import age
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.pod_port import PodPort, get_inside
from osm_probes.mesh.ports import ADMIN_PORT, DEBUG_PROXIES_PATH
from osm_probes.mesh.proxy_status import Connected, ProxyFacts

_TYPES: Final = ("CDS", "EDS", "LDS", "RDS", "SDS")
_COLUMNS: Final = ("POD", "SERVICE ACCOUNT", "CONTROLLER", "CONNECTED", *_TYPES, "LAST NACK")
_VERSION_SHOWN: Final = 8


class ProxyError(OsmError):
    """A proxy, or a controller, could not be asked; the text says which and why."""


class ProxyRow(msgspec.Struct, frozen=True):
    """A proxy, and the controller to which it is connected."""

    controller: str
    proxy: ProxyFacts

    def cells(self) -> tuple[str, ...]:
        """Its line of the table."""
        proxy = self.proxy
        versions = (proxy.accepted.get(each, "-")[:_VERSION_SHOWN] for each in _TYPES)
        nack = proxy.rejected
        refused = f"{nack.type} {nack.version[:_VERSION_SHOWN]}: {nack.reason}" if nack else "-"
        pod = f"{proxy.namespace}/{proxy.pod or proxy.uuid}"
        return (pod, proxy.service_account, self.controller, age(proxy.connected), *versions, refused)


def list_proxies(given: argparse.Namespace) -> int:
    """The proxies of every controller; 1 if one of them could not be asked."""
    return in_cluster(
        given, lambda client: _list(client, namespace=given.osm_namespace, form=given.output, console=Console())
    )


def get_from_proxy(given: argparse.Namespace) -> int:
    """Print what the proxy's admin port says."""
    namespace, _, name = given.pod.rpartition("/")
    return in_cluster(
        given,
        lambda client: _get(client, given.what, namespace=namespace or given.namespace, pod=name, console=Console()),
    )


async def _list(client: KubernetesClient, *, namespace: str, form: str, console: Console) -> int:
    with console.working("asking the controllers"):
        planes = await control_planes(client, namespace=namespace)
        controllers = [pod for plane in planes for pod in plane.pods_of(CONTROLLER)]
        answers = await asyncio.gather(*(_connected(client, pod) for pod in controllers))
    if not controllers:
        raise ProxyError("no pods of osm-controller to ask: see osm mesh list")
    errors = [each for each in answers if isinstance(each, ProxyError)]
    rows = [row for each in answers if not isinstance(each, ProxyError) for row in each]
    rows.sort(key=lambda row: (row.proxy.namespace, row.proxy.pod, row.proxy.uuid))
    if form != "table":
        console.document(rows, form=form)
    elif rows:
        console.table(_COLUMNS, [row.cells() for row in rows])
    elif not errors:
        console.say("No proxies are connected")
    for error in errors:
        console.fail(error)
    return 1 if errors else 0


async def _connected(client: KubernetesClient, pod: Pod) -> list[ProxyRow] | ProxyError:
    name = pod.metadata.name
    try:
        connected = await pod_json(client, pod, DEBUG_PROXIES_PATH, type=Connected)
    except KubernetesError as error:
        return ProxyError(f"{name} does not tell its proxies: {error.needing('get pods/proxy')}")
    return [ProxyRow(name, proxy) for proxy in connected.proxies]


async def _get(client: KubernetesClient, what: str, *, namespace: str, pod: str, console: Console) -> int:
    try:
        answer = await get_inside(client, PodPort(namespace, pod, ADMIN_PORT), f"/{what}")
    except KubernetesError as error:
        needing = error.needing(f"get and create pods/portforward in namespace {namespace}")
        raise ProxyError(f"proxy of pod {namespace}/{pod}: {needing}") from error
    text = answer.content.decode(errors="replace").rstrip("\n")
    if answer.status != HTTPStatus.OK:
        raise ProxyError(f"proxy of pod {namespace}/{pod}: HTTP status {answer.status}: {text[:200]}")
    console.say(text)
    return 0
