"""A cluster -> the objects of a bug report as JSON, reduced to the fields that `report_fields` keeps."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from osm_probes.cli import report_fields
from osm_probes.cli.report_fields import Shape, keep
from osm_probes.cli.report_text import report_json, report_text
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    MESH_CONFIGS,
    PODS,
    SERVICES,
    WEBHOOKS,
    Kind,
)
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.mesh.labels import APP
from osm_probes.mesh.names import CONTROLLER, INJECTOR

_SELECTOR: Final = f"{APP} in ({CONTROLLER},{INJECTOR})"
_SHAPES: Final[Mapping[Kind, Shape]] = {
    PODS: report_fields.POD,
    DEPLOYMENTS: report_fields.DEPLOYMENT,
    EVENTS: report_fields.EVENT,
    SERVICES: report_fields.SERVICE,
    ENDPOINT_SLICES: report_fields.ENDPOINT_SLICE,
    MESH_CONFIGS: report_fields.MESH_CONFIG,
    WEBHOOKS: report_fields.WEBHOOK_CONFIGURATION,
}
_BY_LABEL: Final = (PODS, DEPLOYMENTS)
_BY_NAME: Final[Mapping[Kind, tuple[str, ...]]] = {
    **dict.fromkeys((EVENTS, SERVICES, ENDPOINT_SLICES), (CONTROLLER, INJECTOR)),
    WEBHOOKS: ("osm-webhook-",),
}
"""How the names of the control plane's objects begin. An Event counts by the name of the object that it is about."""

_Object = dict[str, Any]


async def webhooks_file(client: KubernetesClient) -> str:
    """The webhook configurations of meshes, as JSON."""
    return await _file(client, WEBHOOKS)


async def namespace_files(client: KubernetesClient, namespace: str) -> Mapping[str, str]:
    """The objects of the control planes in one namespace, as JSON, by the name of the file."""
    kinds = [kind for kind in _SHAPES if kind is not WEBHOOKS]
    files = await asyncio.gather(*(_file(client, kind, namespace=namespace) for kind in kinds))
    return {f"{kind.plural}.json": file for kind, file in zip(kinds, files, strict=True)}


async def _file(client: KubernetesClient, kind: Kind, *, namespace: str = "") -> str:
    options = ListOptions(kind, namespace=namespace, labels=_SELECTOR if kind in _BY_LABEL else "")
    try:
        objects = await list_objects(client, options, type=dict)
    except KubernetesError as error:
        return report_text(f"Error: {error}")
    own = [found for found in objects if _name(found).startswith(_BY_NAME.get(kind, ""))]
    return report_json([keep(found, _SHAPES[kind]) for found in own])


def _name(found: _Object) -> str:
    metadata = found.get("involvedObject") or found.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
