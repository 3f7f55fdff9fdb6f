"""A pod's HTTP port, asked through the API server: no local port, no route to the pod is needed."""

from http import HTTPStatus
from typing import Final

import msgspec

from osm_probes.cli.objects import Container, Pod
from osm_probes.kube.client import Answer, KubernetesClient, refusal
from osm_probes.kube.kind import PODS

PROBE_PORT: Final = 9091
ALIVE: Final = "/health/alive"


class _Kind(msgspec.Struct):
    kind: str = ""
    api_version: str = msgspec.field(name="apiVersion", default="")


async def ask_pod(
    client: KubernetesClient, pod: Pod, path: str, *, port: int = 0, accept: str = "application/json"
) -> Answer:
    """What the pod answers on its probes' port, or another. Raises KubernetesError where the pod says nothing."""
    name = f"{pod.metadata.name}:{port or probe_port(pod)}"
    proxied = f"{PODS.path(namespace=pod.metadata.namespace, name=name)}/proxy{path}"
    answer = await client.exchange("GET", proxied, accept=accept)
    if _is_from_api_server(answer):
        raise refusal(answer.status, answer.content, retry_after=answer.retry_after)
    return answer


def probe_port(pod: Pod) -> int:
    """Where the pod says that its liveness is asked; 9091 where it does not say."""
    for container in pod.spec.containers:
        asked = container.liveness_probe.http_get if container.liveness_probe else None
        if asked and asked.path == ALIVE:
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
