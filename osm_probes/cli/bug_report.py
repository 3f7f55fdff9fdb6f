"""`osm support bug-report`: state, logs and probe answers of control planes -> one archive, without Secrets.

Objects are reduced to an allow-list of fields (`report_fields`), texts are bounded and searched for credentials
(`report_text`).
"""

import argparse
import asyncio
import io
import tarfile
import time
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from osm_probes import __version__
from osm_probes.cli.api_client import get_from_pod, run_with_client
from osm_probes.cli.debug_port import get_debug_page
from osm_probes.cli.objects import Pod
from osm_probes.cli.output import Console, strip_styles, write_private_file
from osm_probes.cli.report_objects import namespace_files, webhooks_file
from osm_probes.cli.report_text import report_json, report_text
from osm_probes.cli.verify.collect import ClusterState, PodState, collect_state
from osm_probes.cli.verify.control_plane import check_cluster
from osm_probes.cli.verify.result import render_tree
from osm_probes.kube.client import KubernetesClient, Response
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.labels import APP
from osm_probes.mesh.names import CONTROLLER
from osm_probes.mesh.ports import ALIVE_PATH, DEBUG_PROXIES_PATH, READY_PATH

_FOLDER: Final = "osm-bug-report"
_PROBES: Final = (ALIVE_PATH, READY_PATH)
_MAX_ARCHIVE: Final = 64 << 20

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
        state = _without_other_logs(await collect_state(client, namespace=namespace))
        pods = [pod.pod for control_plane in state.control_planes for pod in control_plane.pods]
        pages = await asyncio.gather(*(_pages_of_pod(client, pod) for pod in pods))
        objects = await _objects(client, state)
    files = [*_files(state), *objects, *(file for pages_of_pod in pages for file in pages_of_pod)]
    written = _within_limit(files)
    write_private_file(output, _archive(written))
    console.print(f"wrote {len(written)} files to {output}: review them before you share the archive")
    return 0


def _without_other_logs(state: ClusterState) -> ClusterState:
    """The state without the logs of containers that somebody added to the pods."""
    planes = (replace(plane, pods=tuple(map(_with_own_logs, plane.pods))) for plane in state.control_planes)
    return replace(state, control_planes=tuple(planes))


def _with_own_logs(state: PodState) -> PodState:
    program = state.pod.metadata.labels.get(APP, "")
    return replace(state, logs={name: log for name, log in state.logs.items() if name.partition(" ")[0] == program})


async def _objects(client: KubernetesClient, state: ClusterState) -> list[File]:
    namespaces = sorted({control_plane.control_plane.namespace for control_plane in state.control_planes})
    all_files = await asyncio.gather(*(namespace_files(client, namespace) for namespace in namespaces))
    files = [
        (f"{namespace}/{name}", text)
        for namespace, files_of_one in zip(namespaces, all_files, strict=True)
        for name, text in files_of_one.items()
    ]
    return [("webhooks.json", await webhooks_file(client)), *files]


async def _pages_of_pod(client: KubernetesClient, pod: Pod) -> list[File]:
    """The probes' verbose answers and, from a controller, its connected proxies."""
    pages = [_page(path, get_from_pod(client, pod, f"{path}?verbose", accept="*/*")) for path in _PROBES]
    if pod.metadata.labels.get(APP) == CONTROLLER:
        pages.append(_page(DEBUG_PROXIES_PATH, get_debug_page(client, pod, DEBUG_PROXIES_PATH)))
    return [(f"{_folder(pod)}/{name}", text) for name, text in await asyncio.gather(*pages)]


async def _page(path: str, request: Awaitable[Response]) -> File:
    name = f"{path.strip('/').replace('/', '-')}.txt"
    try:
        response = await request
    except KubernetesError as error:
        return name, _text_or_error(error)
    return name, report_text(f"{response.status}\n{response.content.decode(errors='replace')}")


def _within_limit(files: Iterable[File]) -> list[File]:
    """The files as far as they fit, and the number of the others."""
    kept: list[File] = []
    room, left_out = _MAX_ARCHIVE, 0
    for name, text in files:
        if (room := room - len(text)) >= 0:
            kept.append((name, text))
        else:
            left_out += 1
    return [*kept, *([("left-out.txt", f"{left_out} files are left out: the archive is full")] if left_out else [])]


def _files(state: ClusterState) -> Iterator[File]:
    now = datetime.now(UTC)
    result = check_cluster(state, now=now)
    yield "about.txt", f"osm {__version__}, {now:%Y-%m-%dT%H:%M:%SZ}"
    yield "verify.txt", report_text("\n".join(strip_styles(line) for line in render_tree(result)))
    yield "verify.json", _json_or_error(result)
    yield "namespaces.json", _json_or_error(state.injecting_meshes)
    for control_plane in state.control_planes:
        for pod in control_plane.pods:
            yield from _pod_files(pod)


def _pod_files(state: PodState) -> Iterator[File]:
    folder = _folder(state.pod)
    yield f"{folder}/probes.json", _json_or_error(state.probes)
    yield f"{folder}/metrics.txt", _text_or_error(state.metrics)
    for name, log in state.logs.items():
        yield f"{folder}/{name.replace(' ', '-')}.log", _text_or_error(log)


def _folder(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _text_or_error(text: str | KubernetesError) -> str:
    return report_text(f"Error: {text}" if isinstance(text, KubernetesError) else text)


def _json_or_error(value: object) -> str:
    if isinstance(value, KubernetesError):
        return _text_or_error(value)
    return report_json(value)


def _archive(files: list[File]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files:
            body = text.encode()
            header = tarfile.TarInfo(f"{_FOLDER}/{name}")
            header.size, header.mtime, header.mode = len(body), int(time.time()), 0o600
            archive.addfile(header, io.BytesIO(body))
    return content.getvalue()
