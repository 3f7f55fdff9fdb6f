"""The patched synthetic pod -> whether the API server would accept it and its sidecar would work."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import ExpectedSidecar
from osm_probes.mesh.labels import PROXY_UUID, PROXY_UUID_PATTERN
from osm_probes.mesh.ports import LIVENESS_PROBE_PORT

_SHOWN: Final = 100  # characters of a name, which the webhook chooses


class _HttpGet(msgspec.Struct):
    port: int | str


class _Probe(msgspec.Struct, rename="camel"):
    http_get: _HttpGet | None = None


class _Named(msgspec.Struct):
    name: str = ""


class _Container(msgspec.Struct, rename="camel"):
    name: str = ""
    image: str = ""
    restart_policy: str = ""
    liveness_probe: _Probe | None = None
    volume_mounts: list[_Named] = []


class _Secret(msgspec.Struct, rename="camel"):
    secret_name: str = ""


class _Volume(msgspec.Struct):
    name: str = ""
    secret: _Secret | None = None


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container]
    init_containers: list[_Container] = []
    volumes: list[_Volume] = []


class _Metadata(msgspec.Struct):
    labels: dict[str, str] = {}


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec


def check_patched_pod(document: Any, expected: ExpectedSidecar) -> None:
    """Check the patched synthetic pod, whose application has an HTTP liveness probe. Raises UnhealthyError."""
    try:
        pod = msgspec.convert(document, type=_Pod)
    except msgspec.ValidationError as error:
        raise UnhealthyError("the patched pod is no pod", detail=f"the patched pod is no pod: {error}") from error
    for problem in _problems(pod, expected):
        raise UnhealthyError(f"the patched pod would not work: {problem}")


def _problems(pod: _Pod, expected: ExpectedSidecar) -> Iterator[str]:
    yield from _rules_of_kubernetes(pod.spec)
    uuid = pod.metadata.labels.get(PROXY_UUID, "")
    if not PROXY_UUID_PATTERN.match(uuid):
        yield f"its label {PROXY_UUID} is no uuid"
    if not any(container.name == expected.init_container for container in pod.spec.init_containers):
        yield f"it has no init container {expected.init_container}"
    sidecar = _sidecar(pod.spec, expected.container)
    if sidecar is None:
        yield f"it has no container {expected.container} that keeps running"
        return
    secret = f"{expected.secret_prefix}{uuid}"
    bootstraps = {volume.name for volume in pod.spec.volumes if volume.secret and volume.secret.secret_name == secret}
    if not any(mount.name in bootstraps for mount in sidecar.volume_mounts):
        yield f"container {expected.container} does not mount the Secret with the bootstrap of its uuid"
    probes = [container.liveness_probe for container in pod.spec.containers if container.liveness_probe]
    if [probe.http_get.port for probe in probes if probe.http_get] != [LIVENESS_PROBE_PORT]:
        yield "the liveness probe of the application does not go through the sidecar"


def _rules_of_kubernetes(spec: _Spec) -> Iterator[str]:
    """What the API server refuses in any pod."""
    containers = [*spec.init_containers, *spec.containers]
    volumes = {volume.name for volume in spec.volumes}
    for names in ([container.name for container in containers], [volume.name for volume in spec.volumes]):
        if len(set(names)) < len(names) or "" in names:
            yield "two of its containers or volumes have the same name, or one has none"
    for container in containers:
        name = container.name[:_SHOWN]
        if not container.image or container.image != container.image.strip():
            yield f"container {name} has no image" if not container.image.strip() else f"the image of {name} has spaces"
        if not {mount.name for mount in container.volume_mounts} <= volumes:
            yield f"container {name} mounts a volume that the pod does not have"


def _sidecar(spec: _Spec, name: str) -> _Container | None:
    running = [*spec.containers, *(each for each in spec.init_containers if each.restart_policy == "Always")]
    return next((container for container in running if container.name == name), None)
