"""A pod's HTTP port, asked through the API server: no local port, no route to the pod is needed."""

from http import HTTPStatus
from typing import Final, TypeVar

import msgspec

from osm_probes.cli.objects import Container, Pod
from osm_probes.kube.client import Answer, KubernetesClient, refusal
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import PODS
from osm_probes.mesh.ports import ALIVE_PATH, PROBE_PORT

T = TypeVar("T")

ASKED_WITHIN: Final = 6.0
"""Seconds that a pod has for an answer: a canary may take 3."""


class _Kind(msgspec.Struct):
    kind: str = ""
    api_version: str = msgspec.field(name="apiVersion", default="")


async def ask_pod(client: KubernetesClient, pod: Pod, path: str, *, accept: str = "application/json") -> Answer:
    """What the pod answers on its probes' port. Raises KubernetesError where the pod says nothing within 6 s."""
    name = f"{pod.metadata.name}:{probe_port(pod)}"
    proxied = f"{PODS.path(namespace=pod.metadata.namespace, name=name)}/proxy{path}"
    answer = await client.bounded(ASKED_WITHIN).exchange("GET", proxied, accept=accept)
    if _is_from_api_server(answer):
        raise refusal(answer.status, answer.content, retry_after=answer.retry_after)
    return answer


async def pod_text(client: KubernetesClient, pod: Pod, path: str, *, accept: str = "text/plain") -> str:
    """The text of a path, where its status is 200. Raises KubernetesError."""
    answer = await ask_pod(client, pod, path, accept=accept)
    text = answer.content.decode(errors="replace")
    if answer.status != HTTPStatus.OK:
        raise KubernetesError(text[:200] or f"HTTP status {answer.status}")
    return text


async def pod_json(client: KubernetesClient, pod: Pod, path: str, *, type: type[T]) -> T:  # noqa: A002 - as msgspec
    """The JSON of a path. Raises KubernetesError."""
    try:
        return msgspec.json.decode(await pod_text(client, pod, path, accept="application/json"), type=type)
    except msgspec.DecodeError as error:
        raise KubernetesError(f"{path}: {error}") from error


class _Version(msgspec.Struct):
    version: str = ""


async def pod_version(client: KubernetesClient, pod: Pod) -> str:
    """The version of the program in the pod; "" where it does not say."""
    try:
        return (await pod_json(client, pod, "/version", type=_Version)).version
    except KubernetesError:
        return ""


def probe_port(pod: Pod) -> int:
    """Where the pod says that its liveness is asked; 9091 where it does not say."""
    for container in pod.spec.containers:
        asked = container.liveness_probe.http_get if container.liveness_probe else None
        if asked and asked.path == ALIVE_PATH:
            return _number(asked.port, container)
    return PROBE_PORT


def _number(port: int | str, container: Container) -> int:
    if isinstance(port, int):
        return port
    return next((each.container_port for each in container.ports if each.name == port), PROBE_PORT)


def _is_from_api_server(answer: Answer) -> bool:
    """Whether the API server itself says no: it answers with a Status then, a program of ours never."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return False
    try:
        found = msgspec.json.decode(answer.content, type=_Kind)
    except msgspec.DecodeError:
        return False
    return (found.kind, found.api_version) == ("Status", "v1")
