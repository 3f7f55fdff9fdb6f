"""`osm version`: the versions of this command and of the control planes."""

import argparse
import asyncio
from typing import Final

import msgspec

from osm_probes import __version__
from osm_probes.cli.api_client import get_pod_version, run_with_client
from osm_probes.cli.control_planes import list_control_planes
from osm_probes.cli.output import Console
from osm_probes.kube.client import KubernetesClient

_COLUMNS: Final = ("COMPONENT", "NAMESPACE", "MESH", "VERSION")
_UNKNOWN: Final = "Unknown"


class VersionRow(msgspec.Struct, frozen=True):
    """The version of a component; empty if unknown."""

    component: str
    namespace: str
    mesh: str
    version: str


_THIS_COMMAND: Final = VersionRow("osm", "", "", __version__)


def print_versions(arguments: argparse.Namespace) -> int:
    """Print the version of this command and, without --client, of each pod of the control planes."""
    console = Console()
    if arguments.client:
        _print([_THIS_COMMAND], output_format=arguments.output, console=console)
        return 0
    return run_with_client(
        arguments,
        lambda client: _print_all(
            client, namespace=arguments.osm_namespace, output_format=arguments.output, console=console
        ),
    )


async def _print_all(client: KubernetesClient, *, namespace: str, output_format: str, console: Console) -> int:
    with console.progress("querying the control planes"):
        control_planes = await list_control_planes(client, namespace=namespace)
        pods = [(plane, pod) for plane in control_planes for pod in plane.pods if not pod.inactive_reason]
        versions = await asyncio.gather(*(get_pod_version(client, pod) for _, pod in pods))
    rows = [
        VersionRow(pod.metadata.name, plane.namespace, plane.mesh, version)
        for (plane, pod), version in zip(pods, versions, strict=True)
    ]
    _print([_THIS_COMMAND, *rows], output_format=output_format, console=console)
    return 0


def _print(rows: list[VersionRow], *, output_format: str, console: Console) -> None:
    if output_format == "table":
        cells = [(row.component, row.namespace or "-", row.mesh or "-", row.version or _UNKNOWN) for row in rows]
        console.print_table(_COLUMNS, cells)
    else:
        console.print_document(rows, output_format=output_format)
