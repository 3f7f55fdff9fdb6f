"""`osm version`: what runs here, and in the control planes."""

import argparse
import asyncio
from typing import Final

import msgspec

from osm_probes import __version__
from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.console import Console
from osm_probes.cli.control_planes import control_planes
from osm_probes.cli.pod_http import pod_version
from osm_probes.kube.client import KubernetesClient

_COLUMNS: Final = ("COMPONENT", "NAMESPACE", "MESH", "VERSION")
_UNKNOWN: Final = "Unknown"


class VersionRow(msgspec.Struct, frozen=True):
    """Who has which version; "" where none is told."""

    component: str
    namespace: str
    mesh: str
    version: str


_OURS: Final = VersionRow("osm", "", "", __version__)


def tell_versions(given: argparse.Namespace) -> int:
    """This command's version, and those of every pod of the control planes."""
    console = Console()
    if given.client:
        _show([_OURS], form=given.output, console=console)
        return 0
    return in_cluster(
        given, lambda client: _tell(client, namespace=given.osm_namespace, form=given.output, console=console)
    )


async def _tell(client: KubernetesClient, *, namespace: str, form: str, console: Console) -> int:
    with console.working("asking the control planes"):
        planes = await control_planes(client, namespace=namespace)
        pods = [(plane, pod) for plane in planes for pod in plane.pods if not pod.leaving]
        versions = await asyncio.gather(*(pod_version(client, pod) for _, pod in pods))
    rows = [
        VersionRow(pod.metadata.name, plane.namespace, plane.mesh, version)
        for (plane, pod), version in zip(pods, versions, strict=True)
    ]
    _show([_OURS, *rows], form=form, console=console)
    return 0


def _show(rows: list[VersionRow], *, form: str, console: Console) -> None:
    if form == "table":
        cells = [(row.component, row.namespace or "-", row.mesh or "-", row.version or _UNKNOWN) for row in rows]
        console.table(_COLUMNS, cells)
    else:
        console.document(rows, form=form)
