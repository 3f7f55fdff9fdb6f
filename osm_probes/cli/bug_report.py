"""`osm support bug-report`: all that explains a fault -> one archive; no Secret is read, none can be in it."""

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
from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.console import Console, plain
from osm_probes.cli.control_planes import CONTROLLER
from osm_probes.cli.objects import Pod
from osm_probes.cli.pod_http import ask_pod
from osm_probes.cli.private_file import write_private
from osm_probes.cli.verify.collect import ClusterState, ControlPlaneState, PodState, look
from osm_probes.cli.verify.control_plane import judge
from osm_probes.cli.verify.result import tree
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.ports import DEBUG_PROXIES_PATH

_FOLDER = "osm-bug-report"
_VERBOSE = ("/health/alive?verbose", "/health/ready?verbose")

File = tuple[str, str]
"""A name in the archive, and the text."""


def write_report(given: argparse.Namespace) -> int:
    """Write the archive; what could not be read is in it as the reason why."""
    console = Console()
    return in_cluster(
        given, lambda client: _write(client, namespace=given.osm_namespace, output=given.output, console=console)
    )


async def _write(client: KubernetesClient, *, namespace: str, output: Path, console: Console) -> int:
    with console.working("gathering"):
        seen = await look(client, namespace=namespace)
        pods = [pod for plane in seen.planes for pod in plane.pods]
        asked = await asyncio.gather(*(_asked(client, pod.pod) for pod in pods))
    files = [*_files(seen), *(file for several in asked for file in several)]
    write_private(output, _archive(files))
    console.say(f"{len(files)} files are in {output}: look through it before you give it away")
    return 0


async def _asked(client: KubernetesClient, pod: Pod) -> list[File]:
    """What a person would ask the pod by hand."""
    paths = [*_VERBOSE, *([DEBUG_PROXIES_PATH] if pod.metadata.labels.get("app") == CONTROLLER else [])]
    texts = await asyncio.gather(*(_text(client, pod, path) for path in paths))
    names = (f"{_place(pod)}/{path.partition('?')[0].strip('/').replace('/', '-')}.txt" for path in paths)
    return list(zip(names, texts, strict=True))


async def _text(client: KubernetesClient, pod: Pod, path: str) -> str:
    try:
        answer = await ask_pod(client, pod, path, accept="*/*")
    except KubernetesError as error:
        return f"Error: {error}"
    return f"{answer.status}\n{answer.content.decode(errors='replace')}"


def _files(seen: ClusterState) -> Iterator[File]:
    now = datetime.now(UTC)
    result = judge(seen, now=now)
    yield "about.txt", f"osm {__version__}, {now:%Y-%m-%dT%H:%M:%SZ}"
    yield "verify.txt", "\n".join(plain(line) for line in tree(result))
    yield "verify.json", _json(result)
    yield "namespaces.json", _json(seen.owners)
    yield "webhooks.json", _json(seen.webhooks)
    for plane in seen.planes:
        yield from _plane_files(plane)


def _plane_files(seen: ControlPlaneState) -> Iterator[File]:
    home = seen.plane.namespace
    yield f"{home}/{seen.plane.mesh}-deployments.json", _json(seen.plane.deployments)
    yield f"{home}/events.json", _json(seen.events)
    yield f"{home}/services.json", _json(seen.services)
    yield f"{home}/endpointslices.json", _json(seen.slices)
    for pod in seen.pods:
        yield from _pod_files(pod)


def _pod_files(seen: PodState) -> Iterator[File]:
    place = _place(seen.pod)
    yield f"{place}/pod.json", _json(_without_arguments(seen.pod))
    yield f"{place}/probes.json", _json(seen.probes)
    yield f"{place}/metrics.txt", _said(seen.metrics)
    for name, log in seen.logs.items():
        yield f"{place}/{name.replace(' ', '-')}.log", _said(log)


def _without_arguments(pod: Pod) -> Pod:
    """A flag may have a token."""
    bare = [msgspec.structs.replace(each, args=[]) for each in pod.spec.containers]
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, containers=bare))


def _place(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _said(text: str | KubernetesError) -> str:
    return f"Error: {text}" if isinstance(text, KubernetesError) else text


def _json(value: object) -> str:
    if isinstance(value, KubernetesError):
        return _said(value)
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _archive(files: list[File]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files:
            body = text.encode()
            about = tarfile.TarInfo(f"{_FOLDER}/{name}")
            about.size, about.mtime, about.mode = len(body), int(time.time()), 0o600
            archive.addfile(about, io.BytesIO(body))
    return content.getvalue()
