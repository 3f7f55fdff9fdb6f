"""Requests of a command: a client of the API server, and through the API server to the HTTP port of a pod.

The API server's pod proxy (`pods/proxy`) needs no local port and no route to the pod.
"""

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from osm_probes.cli.objects import Container, Pod
from osm_probes.kube.client import KubernetesClient, Response, error_from_response
from osm_probes.kube.connect import connect, find_kubeconfig
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import PODS
from osm_probes.mesh.ports import ALIVE_PATH, PROBE_PORT, VERSION_PATH

T = TypeVar("T")

POD_TIMEOUT: Final = 6.0
"""Seconds that a pod has to respond. A readiness probe may run a canary for 3 seconds."""


def run_with_client(arguments: argparse.Namespace, command: Callable[[KubernetesClient], Awaitable[int]]) -> int:
    """Run a command with a client of the cluster that --kubeconfig and --context select; return its exit status.

    Raises KubernetesError.
    """
    kubeconfig = find_kubeconfig(arguments.kubeconfig, environment=os.environ, home=Path.home())

    async def run() -> int:
        async with connect(kubeconfig, context=arguments.context or None) as client:
            return await command(client)

    return asyncio.run(run())


async def get_from_pod(client: KubernetesClient, pod: Pod, path: str, *, accept: str = "application/json") -> Response:
    """GET a path from the pod's probe port. Raises KubernetesError if the pod does not respond within 6 seconds."""
    name = f"{pod.metadata.name}:{probe_port(pod)}"
    proxy_path = f"{PODS.path(namespace=pod.metadata.namespace, name=name)}/proxy{path}"
    response = await client.with_timeout(POD_TIMEOUT).send("GET", proxy_path, accept=accept)
    if _is_from_api_server(response):
        raise error_from_response(response)
    return response


async def get_pod_text(client: KubernetesClient, pod: Pod, path: str, *, accept: str = "text/plain") -> str:
    """GET a text from the pod's probe port. Raises KubernetesError, also if the status is not 200."""
    response = await get_from_pod(client, pod, path, accept=accept)
    text = response.content.decode(errors="replace")
    if response.status != HTTPStatus.OK:
        raise KubernetesError(text[:200] or f"HTTP status {response.status}")
    return text


async def get_pod_json(client: KubernetesClient, pod: Pod, path: str, *, type: type[T]) -> T:  # noqa: A002 - as msgspec
    """GET a JSON document from the pod's probe port. Raises KubernetesError."""
    try:
        return msgspec.json.decode(await get_pod_text(client, pod, path, accept="application/json"), type=type)
    except msgspec.DecodeError as error:
        raise KubernetesError(f"{path}: {error}") from error


class _Version(msgspec.Struct):
    version: str = ""


async def get_pod_version(client: KubernetesClient, pod: Pod) -> str:
    """The version of the program in the pod; empty if the pod does not report it."""
    try:
        return (await get_pod_json(client, pod, VERSION_PATH, type=_Version)).version
    except KubernetesError:
        return ""


def probe_port(pod: Pod) -> int:
    """The port of the pod's liveness probe; 9091 if the pod does not define one on /health/alive."""
    for container in pod.spec.containers:
        http_get = container.liveness_probe.http_get if container.liveness_probe else None
        if http_get and http_get.path == ALIVE_PATH:
            return _port_number(http_get.port, container)
    return PROBE_PORT


def _port_number(port: int | str, container: Container) -> int:
    """The number of a port that a probe gives by number or by name."""
    if isinstance(port, int):
        return port
    return next((named.container_port for named in container.ports if named.name == port), PROBE_PORT)


class _Status(msgspec.Struct):
    kind: str = ""
    api_version: str = msgspec.field(name="apiVersion", default="")


def _is_from_api_server(response: Response) -> bool:
    """Whether an error comes from the API server: its body is then a Status object, which our programs never send."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return False
    try:
        body = msgspec.json.decode(response.content, type=_Status)
    except msgspec.DecodeError:
        return False
    return (body.kind, body.api_version) == ("Status", "v1")
