"""`osm mesh …`: the meshes of a cluster."""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec

from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.console import Console
from osm_probes.cli.control_planes import CONTROLLER, ControlPlane, control_planes
from osm_probes.cli.objects import Pod
from osm_probes.cli.pod_http import pod_json, pod_version
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.ports import SMI_VERSION_PATH

_COLUMNS: Final = ("MESH NAME", "NAMESPACE", "CONTROLLER PODS", "VERSION", "SMI SUPPORTED")
_UNKNOWN: Final = "Unknown"


class MeshRow(msgspec.Struct, frozen=True, rename="camel"):
    """A mesh, as `osm mesh list` tells it."""

    name: str
    namespace: str
    controller_pods: tuple[str, ...]
    version: str
    smi_supported: dict[str, str] | None

    def cells(self) -> tuple[str, ...]:
        """Its line of the table."""
        smi = None if self.smi_supported is None else ",".join(f"{k}:{v}" for k, v in self.smi_supported.items())
        return (self.name, self.namespace, ",".join(self.controller_pods), self.version, smi or _UNKNOWN)


def list_meshes(given: argparse.Namespace) -> int:
    """Every mesh that has a controller's Deployment."""
    return in_cluster(given, lambda client: _list(client, form=given.output, console=Console()))


async def _list(client: KubernetesClient, *, form: str, console: Console) -> int:
    with console.working("asking the controllers"):
        planes = [plane for plane in await control_planes(client) if plane.deployment_of(CONTROLLER)]
        rows = await asyncio.gather(*(_row(client, plane) for plane in planes))
    if form != "table":
        console.document(rows, form=form)
    elif rows:
        console.say("")  # as osm has always begun this table
        console.table(_COLUMNS, [row.cells() for row in rows])
    else:
        console.say("No osm mesh control planes found")
    return 0


async def _row(client: KubernetesClient, plane: ControlPlane) -> MeshRow:
    pods = plane.pods_of(CONTROLLER)
    smi, version = await asyncio.gather(_smi(client, pods), _version(client, plane))
    return MeshRow(plane.mesh, plane.namespace, tuple(pod.metadata.name for pod in pods), version or _UNKNOWN, smi)


async def _smi(client: KubernetesClient, pods: Sequence[Pod]) -> dict[str, str] | None:
    """What the first controller that answers says; None if none does."""
    for pod in pods:
        with contextlib.suppress(KubernetesError):
            return await pod_json(client, pod, SMI_VERSION_PATH, type=dict[str, str])
    return None


async def _version(client: KubernetesClient, plane: ControlPlane) -> str:
    """The version that was installed, else what the first controller that answers says."""
    if installed := plane.version_of(CONTROLLER):
        return installed
    for pod in plane.pods_of(CONTROLLER):
        if version := await pod_version(client, pod):
            return version
    return ""
