"""`osm probe`: what the probes of the control plane's pods answer, and why."""

import argparse
import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.console import Console, Styled, judged
from osm_probes.cli.control_planes import CONTROLLER, INJECTOR, control_planes
from osm_probes.cli.probe_client import PodProbes, ProbeAnswer, in_sum, probed
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError

_EVERY: Final = 1.0
_APPS: Final = {"controller": (CONTROLLER,), "injector": (INJECTOR,), None: (CONTROLLER, INJECTOR)}
_STATUS: Final = {True: 0, False: 1, None: 2}


class NoPodsError(OsmError):
    """There is nobody to ask."""


def probe(given: argparse.Namespace) -> int:
    """Ask once, or go on asking: 0 if all probes say yes, 1 if one does not, 2 where nobody knows."""
    console = Console()
    asked = {"namespace": given.osm_namespace, "apps": _APPS[given.program]}
    if given.watch:
        return in_cluster(given, lambda client: _watch(client, form=given.output, console=console, **asked))
    return in_cluster(given, lambda client: _once(client, form=given.output, console=console, **asked))


async def _once(client: KubernetesClient, *, namespace: str, apps: Sequence[str], form: str, console: Console) -> int:
    with console.working("asking the probes"):
        found = await _asked(client, namespace=namespace, apps=apps)
    if not found:
        where = f"in namespace {namespace}" if namespace else "in this cluster"
        raise NoPodsError(f"no pods of {' or '.join(apps)} {where}: see osm mesh list")
    if form != "text":
        console.document(found, form=form)
    else:
        for each in found:
            for line in described(each):
                console.line(*line)
    return _STATUS[in_sum(each.healthy for each in found)]


async def _watch(client: KubernetesClient, *, namespace: str, apps: Sequence[str], form: str, console: Console) -> int:
    """Say each answer once, and again when it has changed, without an end."""
    said: Mapping[tuple[str, str], str] = {}
    trouble = ""
    while True:
        try:
            found = await _asked(client, namespace=namespace, apps=apps)
            trouble = ""
        except KubernetesError as error:
            if str(error) != trouble:
                console.fail(error)
            trouble = str(error)
        else:
            now = {(each.pod, answer.probe): answer for each in found for answer in each.probes}
            for key in sorted(said.keys() - now.keys()):
                _tell_of_end(*key, form=form, console=console)
            for key, answer in now.items():
                if said.get(key) != _essence(answer):
                    _tell_of_change(key[0], answer, form=form, console=console)
            said = {key: _essence(answer) for key, answer in now.items()}
        await asyncio.sleep(_EVERY)


async def _asked(client: KubernetesClient, *, namespace: str, apps: Sequence[str]) -> list[PodProbes]:
    planes = await control_planes(client, namespace=namespace)
    pods = {pod.metadata.uid: pod for plane in planes for app in apps for pod in plane.pods_of(app)}
    return await asyncio.gather(*(probed(client, pod) for pod in pods.values()))


def described(pod: PodProbes) -> Iterator[tuple[str | Styled, ...]]:
    """The lines that tell a person what a pod's probes said."""
    yield (Styled(f"{pod.namespace}/{pod.pod}", "bold"),)
    for answer in pod.probes:
        yield (f"  {answer.probe}: ", *_verdict(answer), _since(answer))
        verdict = answer.verdict
        for check in verdict.checks if verdict else ():
            said = f"[+]{check.name} ok" if check.healthy else f"[-]{check.name} failed: {check.reason}"
            yield ("    ", judged(said, healthy=check.healthy))
        for warning in verdict.warnings if verdict else ():
            yield ("    ", judged(f"warn: {warning}", healthy=None))


def _verdict(answer: ProbeAnswer) -> tuple[str | Styled, ...]:
    if answer.not_asked:
        return (judged("unknown", healthy=None), f": {answer.not_asked}")
    if answer.verdict is None:
        return (judged("no response", healthy=False), f": {answer.no_response}")
    return (judged("yes" if answer.healthy else "no", healthy=answer.healthy),)


def _since(answer: ProbeAnswer) -> str:
    since = answer.verdict.since if answer.verdict else None
    return f", since {_local(since)}" if since else ""


def _local(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _essence(answer: ProbeAnswer) -> str:
    """What makes an answer another one; how long a beat is late does not."""
    failing = [check.name for check in answer.verdict.checks if not check.healthy] if answer.verdict else []
    return f"{answer.healthy} {answer.verdict is None} {failing}"


def _tell_of_change(pod: str, answer: ProbeAnswer, *, form: str, console: Console) -> None:
    now = datetime.now().astimezone()
    if form != "text":  # a line of JSON is one of YAML
        console.say(msgspec.json.encode({"at": now, "pod": pod, **msgspec.to_builtins(answer)}).decode())
        return
    reasons = [f"{c.name}: {c.reason}" for c in answer.verdict.checks if not c.healthy] if answer.verdict else []
    why = f" ({'; '.join(reasons)})" if reasons else ""
    console.line(f"{_local(now)}  {pod}  {answer.probe}: ", *_verdict(answer), why)


def _tell_of_end(pod: str, probe: str, *, form: str, console: Console) -> None:
    now = datetime.now().astimezone()
    if form != "text":  # a line of JSON is one of YAML
        console.say(msgspec.json.encode({"at": now, "pod": pod, "probe": probe, "gone": True}).decode())
    else:
        console.line(f"{_local(now)}  {pod}  {probe}: ", judged("the pod is gone", healthy=None))
