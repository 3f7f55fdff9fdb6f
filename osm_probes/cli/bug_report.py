"""`osm support bug-report`: state, logs and probe answers of control planes -> one archive, without Secrets."""

import argparse
import asyncio
import io
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from osm_probes import __version__
from osm_probes.cli.api_client import get_from_pod, run_with_client
from osm_probes.cli.objects import Pod
from osm_probes.cli.output import Console, strip_styles, write_private_file
from osm_probes.cli.verify.collect import ClusterState, ControlPlaneState, PodState, collect_state
from osm_probes.cli.verify.control_plane import check_cluster
from osm_probes.cli.verify.result import render_tree
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.labels import APP
from osm_probes.mesh.names import CONTROLLER
from osm_probes.mesh.ports import ALIVE_PATH, DEBUG_PROXIES_PATH, READY_PATH

_FOLDER = "osm-bug-report"
_VERBOSE_PROBES = (f"{ALIVE_PATH}?verbose", f"{READY_PATH}?verbose")

File = tuple[str, str]
"""The path of a file in the archive, and its text."""


def write_bug_report(arguments: argparse.Namespace) -> int:
    """Write the archive. For data that could not be read, the archive contains the error."""
    console = Console()
    return run_with_client(
        arguments,
        lambda client: _write(client, namespace=arguments.osm_namespace, output=arguments.output, console=console),
    )


async def _write(client: KubernetesClient, *, namespace: str, output: Path, console: Console) -> int:
    with console.progress("collecting the state of the control planes"):
        state = await collect_state(client, namespace=namespace)
        pods = [pod.pod for control_plane in state.control_planes for pod in control_plane.pods]
        pages = await asyncio.gather(*(_pages_of_pod(client, pod) for pod in pods))
    files = [*_files(state), *(file for pages_of_pod in pages for file in pages_of_pod)]
    write_private_file(output, _archive(files))
    console.print(f"wrote {len(files)} files to {output}: review them before you share the archive")
    return 0


async def _pages_of_pod(client: KubernetesClient, pod: Pod) -> list[File]:
    """The probes' verbose answers and, from a controller, its connected proxies."""
    paths = [*_VERBOSE_PROBES, *([DEBUG_PROXIES_PATH] if pod.metadata.labels.get(APP) == CONTROLLER else [])]
    texts = await asyncio.gather(*(_page_text(client, pod, path) for path in paths))
    names = (f"{_folder(pod)}/{path.partition('?')[0].strip('/').replace('/', '-')}.txt" for path in paths)
    return list(zip(names, texts, strict=True))


async def _page_text(client: KubernetesClient, pod: Pod, path: str) -> str:
    try:
        response = await get_from_pod(client, pod, path, accept="*/*")
    except KubernetesError as error:
        return _text_or_error(error)
    return f"{response.status}\n{response.content.decode(errors='replace')}"


def _files(state: ClusterState) -> Iterator[File]:
    now = datetime.now(UTC)
    result = check_cluster(state, now=now)
    yield "about.txt", f"osm {__version__}, {now:%Y-%m-%dT%H:%M:%SZ}"
    yield "verify.txt", "\n".join(strip_styles(line) for line in render_tree(result))
    yield "verify.json", _json_or_error(result)
    yield "namespaces.json", _json_or_error(state.injecting_meshes)
    yield "webhooks.json", _json_or_error(state.webhooks)
    for control_plane in state.control_planes:
        yield from _control_plane_files(control_plane)


def _control_plane_files(state: ControlPlaneState) -> Iterator[File]:
    control_plane = state.control_plane
    folder = control_plane.namespace
    yield f"{folder}/{control_plane.mesh}-deployments.json", _json_or_error(control_plane.deployments)
    yield f"{folder}/events.json", _json_or_error(state.events)
    yield f"{folder}/services.json", _json_or_error(state.services)
    yield f"{folder}/endpointslices.json", _json_or_error(state.endpoint_slices)
    for pod in state.pods:
        yield from _pod_files(pod)


def _pod_files(state: PodState) -> Iterator[File]:
    folder = _folder(state.pod)
    yield f"{folder}/pod.json", _json_or_error(_without_arguments(state.pod))
    yield f"{folder}/probes.json", _json_or_error(state.probes)
    yield f"{folder}/metrics.txt", _text_or_error(state.metrics)
    for name, log in state.logs.items():
        yield f"{folder}/{name.replace(' ', '-')}.log", _text_or_error(log)


def _without_arguments(pod: Pod) -> Pod:
    """The pod without its containers' arguments, since a flag may contain a token."""
    containers = [msgspec.structs.replace(container, args=[]) for container in pod.spec.containers]
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, containers=containers))


def _folder(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _text_or_error(text: str | KubernetesError) -> str:
    return f"Error: {text}" if isinstance(text, KubernetesError) else text


def _json_or_error(value: object) -> str:
    if isinstance(value, KubernetesError):
        return _text_or_error(value)
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _archive(files: list[File]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files:
            body = text.encode()
            header = tarfile.TarInfo(f"{_FOLDER}/{name}")
            header.size, header.mtime, header.mode = len(body), int(time.time()), 0o600
            archive.addfile(header, io.BytesIO(body))
    return content.getvalue()
