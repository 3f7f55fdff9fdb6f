"""`osm mesh list`: the meshes of a cluster."""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec

from osm_probes.cli.api_client import get_pod_json, get_pod_version, run_with_client
from osm_probes.cli.control_planes import ControlPlane, list_control_planes
from osm_probes.cli.objects import Pod
from osm_probes.cli.output import Console
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.names import CONTROLLER
from osm_probes.mesh.ports import SMI_VERSION_PATH

_COLUMNS: Final = ("MESH NAME", "NAMESPACE", "CONTROLLER PODS", "VERSION", "SMI SUPPORTED")
_UNKNOWN: Final = "Unknown"


class MeshRow(msgspec.Struct, frozen=True, rename="camel"):
    """A mesh, as `osm mesh list` prints it. smi_supported: API version by kind; None if unknown."""

    name: str
    namespace: str
    controller_pods: tuple[str, ...]
    version: str
    smi_supported: dict[str, str] | None

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        smi = None if self.smi_supported is None else ",".join(f"{k}:{v}" for k, v in self.smi_supported.items())
        return (self.name, self.namespace, ",".join(self.controller_pods), self.version, smi or _UNKNOWN)


def list_meshes(arguments: argparse.Namespace) -> int:
    """Print all meshes that have a Deployment of osm-controller."""
    return run_with_client(arguments, lambda client: _list(client, output_format=arguments.output, console=Console()))


async def _list(client: KubernetesClient, *, output_format: str, console: Console) -> int:
    with console.progress("querying the controllers"):
        control_planes = [plane for plane in await list_control_planes(client) if plane.deployment_of(CONTROLLER)]
        rows = await asyncio.gather(*(_mesh_row(client, plane) for plane in control_planes))
    if output_format != "table":
        console.print_document(rows, output_format=output_format)
    elif rows:
        console.print("")  # upstream's osm prints an empty line before this table
        console.print_table(_COLUMNS, [row.cells() for row in rows])
    else:
        console.print("No osm mesh control planes found")
    return 0


async def _mesh_row(client: KubernetesClient, control_plane: ControlPlane) -> MeshRow:
    pods = control_plane.pods_of(CONTROLLER)
    smi, version = await asyncio.gather(_smi_versions(client, pods), _version(client, control_plane))
    names = tuple(pod.metadata.name for pod in pods)
    return MeshRow(control_plane.mesh, control_plane.namespace, names, version or _UNKNOWN, smi)


async def _smi_versions(client: KubernetesClient, pods: Sequence[Pod]) -> dict[str, str] | None:
    """The SMI versions that the first responding controller reports; None if no controller responds."""
    for pod in pods:
        with contextlib.suppress(KubernetesError):
            return await get_pod_json(client, pod, SMI_VERSION_PATH, type=dict[str, str])
    return None


async def _version(client: KubernetesClient, control_plane: ControlPlane) -> str:
    """The version label of the Deployment, or else the version that the first responding controller reports."""
    if installed := control_plane.version_of(CONTROLLER):
        return installed
    for pod in control_plane.pods_of(CONTROLLER):
        if version := await get_pod_version(client, pod):
            return version
    return ""
