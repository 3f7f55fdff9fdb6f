"""`osm mesh …`: the meshes of a cluster."""

import argparse
import asyncio
from http import HTTPStatus
from typing import Final, TypeVar

import msgspec

from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.planes import CONTROLLER, ControlPlane, control_planes
from osm_probes.cli.podproxy import ask_pod
from osm_probes.cli.screen import Screen
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError

T = TypeVar("T")

_COLUMNS: Final = ("MESH NAME", "NAMESPACE", "CONTROLLER PODS", "VERSION", "SMI SUPPORTED")
_UNKNOWN: Final = "Unknown"
_ASKED_WITHIN: Final = 5.0


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


class _Version(msgspec.Struct):
    version: str = ""


def list_meshes(given: argparse.Namespace) -> int:
    """Every mesh that has a controller's Deployment."""
    return in_cluster(given, lambda client: _list(client, form=given.output, screen=Screen()))


async def _list(client: KubernetesClient, *, form: str, screen: Screen) -> int:
    planes = [plane for plane in await control_planes(client) if plane.deployment_of(CONTROLLER)]
    rows = await asyncio.gather(*(_row(client.bounded(_ASKED_WITHIN), plane) for plane in planes))
    if form != "table":
        screen.document(rows, form=form)
    elif rows:
        screen.say("")  # as osm has always begun this table
        screen.table(_COLUMNS, [row.cells() for row in rows])
    else:
        screen.say("No osm mesh control planes found")
    return 0


async def _row(client: KubernetesClient, plane: ControlPlane) -> MeshRow:
    pods = tuple(pod.metadata.name for pod in plane.pods_of(CONTROLLER))
    version, smi = plane.version_of(CONTROLLER), await _asked(client, plane, "/smi/version", type=dict[str, str])
    if not version:
        told = await _asked(client, plane, "/version", type=_Version)
        version = told.version if told else ""
    return MeshRow(plane.mesh, plane.namespace, pods, version or _UNKNOWN, smi)


async def _asked(client: KubernetesClient, plane: ControlPlane, path: str, *, type: type[T]) -> T | None:  # noqa: A002 - as msgspec
    """What the first controller that answers says; None if none does."""
    for pod in plane.pods_of(CONTROLLER):
        try:
            answer = await ask_pod(client, pod, path)
            if answer.status == HTTPStatus.OK:
                return msgspec.json.decode(answer.content, type=type)
        except (KubernetesError, msgspec.DecodeError):
            continue
    return None
