"""`osm probe`: the answers of the health probes of the control plane's pods, with the reasons of failures."""

import argparse
import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from osm_probes.cli.api_client import run_with_client
from osm_probes.cli.control_planes import list_control_planes
from osm_probes.cli.output import Console, Styled, style_by_health
from osm_probes.cli.pod_probes import PodProbes, ProbeAnswer, combine_health, query_probes
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.names import CONTROLLER, INJECTOR

_INTERVAL: Final = 1.0
_APPS: Final = {"controller": (CONTROLLER,), "injector": (INJECTOR,), None: (CONTROLLER, INJECTOR)}
_EXIT_STATUS: Final = {True: 0, False: 1, None: 2}

PrintedAnswers: TypeAlias = Mapping[tuple[str, str], str]
"""By pod and probe: the part of the answer whose change is printed."""


class NoPodsError(OsmError):
    """The control plane has no pods."""


def probe(arguments: argparse.Namespace) -> int:
    """Query all probes, once or with --watch repeatedly.

    The exit status is 0 if all probes succeed, 1 if a probe fails, 2 if that is unknown.
    """
    console, namespace, apps = Console(), arguments.osm_namespace, _APPS[arguments.program]
    command = _watch if arguments.watch else _query_once
    return run_with_client(
        arguments,
        lambda client: command(client, namespace=namespace, apps=apps, output_format=arguments.output, console=console),
    )


async def _query_once(
    client: KubernetesClient, *, namespace: str, apps: Sequence[str], output_format: str, console: Console
) -> int:
    with console.progress("querying the probes"):
        pods = await _query(client, namespace=namespace, apps=apps)
    if not pods:
        where = f"in namespace {namespace}" if namespace else "in this cluster"
        raise NoPodsError(f"no pods of {' or '.join(apps)} found {where}: see osm mesh list")
    if output_format != "text":
        console.print_document(pods, output_format=output_format)
    else:
        for pod in pods:
            for line in _describe_pod(pod):
                console.print_line(*line)
    return _EXIT_STATUS[combine_health(pod.healthy for pod in pods)]


async def _watch(
    client: KubernetesClient, *, namespace: str, apps: Sequence[str], output_format: str, console: Console
) -> int:
    """Print each answer once, and again whenever it changes, until the user interrupts the command."""
    printed: PrintedAnswers = {}
    last_error = ""
    while True:
        try:
            pods = await _query(client, namespace=namespace, apps=apps)
        except KubernetesError as error:
            if str(error) != last_error:
                console.print_error(error)
            last_error = str(error)
        else:
            last_error = ""
            printed = _print_changes(printed, pods, output_format=output_format, console=console)
        await asyncio.sleep(_INTERVAL)


async def _query(client: KubernetesClient, *, namespace: str, apps: Sequence[str]) -> list[PodProbes]:
    control_planes = await list_control_planes(client, namespace=namespace)
    # A pod without a mesh label belongs to several control planes.
    pods = {pod.metadata.uid: pod for plane in control_planes for app in apps for pod in plane.pods_of(app)}
    return await asyncio.gather(*(query_probes(client, pod) for pod in pods.values()))


def _describe_pod(pod: PodProbes) -> Iterator[tuple[str | Styled, ...]]:
    """The lines of a pod: its probes, with their checks and warnings."""
    yield (Styled(f"{pod.namespace}/{pod.pod}", "bold"),)
    for answer in pod.probes:
        yield (f"  {answer.probe}: ", *_describe_answer(answer), _describe_since(answer))
        verdict = answer.verdict
        for check in verdict.checks if verdict else ():
            text = f"[+]{check.name} ok" if check.healthy else f"[-]{check.name} failed: {check.reason}"
            yield ("    ", style_by_health(text, healthy=check.healthy))
        for warning in verdict.warnings if verdict else ():
            yield ("    ", style_by_health(f"warn: {warning}", healthy=None))


def _describe_answer(answer: ProbeAnswer) -> tuple[str | Styled, ...]:
    if answer.not_asked:
        return (style_by_health("unknown", healthy=None), f": {answer.not_asked}")
    if answer.verdict is None:
        return (style_by_health("no response", healthy=False), f": {answer.no_response}")
    return (style_by_health("yes" if answer.healthy else "no", healthy=answer.healthy),)


def _describe_since(answer: ProbeAnswer) -> str:
    since = answer.verdict.since if answer.verdict else None
    return f", since {_format_local(since)}" if since else ""


def _format_local(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _print_changes(
    printed: PrintedAnswers, pods: Sequence[PodProbes], *, output_format: str, console: Console
) -> PrintedAnswers:
    """Print the answers that differ from the printed ones, and the pods that are gone; return what is printed now."""
    answers = {(pod.pod, answer.probe): answer for pod in pods for answer in pod.probes}
    for pod_name, probe_name in sorted(printed.keys() - answers.keys()):
        _print_removal(pod_name, probe_name, output_format=output_format, console=console)
    for key, answer in answers.items():
        if printed.get(key) != _comparable(answer):
            _print_change(key[0], answer, output_format=output_format, console=console)
    return {key: _comparable(answer) for key, answer in answers.items()}


def _comparable(answer: ProbeAnswer) -> str:
    """The part of an answer whose change is printed: not the reasons, since they contain durations."""
    failing = [check.name for check in answer.verdict.checks if not check.healthy] if answer.verdict else []
    return f"{answer.healthy} {answer.verdict is None} {failing}"


def _print_change(pod: str, answer: ProbeAnswer, *, output_format: str, console: Console) -> None:
    now = datetime.now().astimezone()
    if output_format != "text":  # one line of JSON is also valid YAML
        console.print(msgspec.json.encode({"at": now, "pod": pod, **msgspec.to_builtins(answer)}).decode())
        return
    checks = answer.verdict.checks if answer.verdict else []
    reasons = [f"{check.name}: {check.reason}" for check in checks if not check.healthy]
    suffix = f" ({'; '.join(reasons)})" if reasons else ""
    console.print_line(f"{_format_local(now)}  {pod}  {answer.probe}: ", *_describe_answer(answer), suffix)


def _print_removal(pod: str, probe: str, *, output_format: str, console: Console) -> None:
    now = datetime.now().astimezone()
    if output_format != "text":  # one line of JSON is also valid YAML
        console.print(msgspec.json.encode({"at": now, "pod": pod, "probe": probe, "gone": True}).decode())
    else:
        console.print_line(f"{_format_local(now)}  {pod}  {probe}: ", style_by_health("the pod is gone", healthy=None))
