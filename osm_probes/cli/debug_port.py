"""A page of a controller's debug port, which is on the pod's loopback, where only a port-forward reaches it."""

from http import HTTPStatus
from typing import Final, TypeVar

import msgspec

from osm_probes.cli.api_client import POD_TIMEOUT, get_from_pod
from osm_probes.cli.objects import Pod
from osm_probes.kube.client import KubernetesClient, Response
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.port_forward import PodPort, http_get
from osm_probes.mesh.ports import DEBUG_PORT

T = TypeVar("T")

_MAX_TEXT: Final = 200


async def get_debug_page(client: KubernetesClient, pod: Pod, path: str) -> Response:
    """GET a page of the debug port. Raises KubernetesError, with the permission that the user lacks.

    An older controller has such pages on its probe port, which is asked if the debug port does not respond.
    """
    target = PodPort(pod.metadata.namespace, pod.metadata.name, pod.flag_port("debug-port") or DEBUG_PORT)
    try:
        return await http_get(client, target, path, within=POD_TIMEOUT)
    except KubernetesError as error:
        if (older := await _page_of_probe_port(client, pod, path)) is not None:
            return older
        permission = f"get and create pods/portforward in namespace {target.namespace}"
        raise KubernetesError(error.explain(permission)) from error


async def get_debug_json(client: KubernetesClient, pod: Pod, path: str, *, type: type[T]) -> T:  # noqa: A002 - as msgspec
    """GET a JSON document from the debug port. Raises KubernetesError, also if the status is not 200."""
    response = await get_debug_page(client, pod, path)
    if response.status != HTTPStatus.OK:
        text = response.content.decode(errors="replace")
        raise KubernetesError(text[:_MAX_TEXT] or f"HTTP status {response.status}")
    try:
        return msgspec.json.decode(response.content, type=type)
    except msgspec.DecodeError as error:
        raise KubernetesError(f"{path}: {error}") from error


async def _page_of_probe_port(client: KubernetesClient, pod: Pod, path: str) -> Response | None:
    try:
        response = await get_from_pod(client, pod, path)
    except KubernetesError:
        return None
    return response if response.status == HTTPStatus.OK else None
