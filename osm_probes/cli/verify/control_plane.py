"""`osm verify control-plane`, `osm doctor`: everything that was seen -> one tree, and how it is to be cured."""

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from osm_probes import __version__
from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.console import Console
from osm_probes.cli.control_planes import CONTROLLER, INJECTOR
from osm_probes.cli.namespace import remove_namespace
from osm_probes.cli.verify.answers import judge_certificates, judge_probes, judge_versions
from osm_probes.cli.verify.collect import ClusterState, ControlPlaneState, PodState, look
from osm_probes.cli.verify.containers import judge_leaving, judge_sidecar, judge_state
from osm_probes.cli.verify.events import Event, Involved, judge_events, told_by
from osm_probes.cli.verify.loglines import judge_logs
from osm_probes.cli.verify.permissions import judge_permissions
from osm_probes.cli.verify.result import Result, Status, together, tree, unknown
from osm_probes.cli.verify.summary import shown
from osm_probes.cli.verify.surroundings import (
    judge_crds,
    judge_enrolment,
    judge_lease,
    judge_replicas,
    judge_services,
)
from osm_probes.cli.verify.webhook import judge_trust, judge_webhook
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError

_EXIT: Final = {Status.SUCCESS: 0, Status.WARNING: 0, Status.FAILURE: 1, Status.UNKNOWN: 2}
_APPS: Final = (CONTROLLER, INJECTOR)


def verify_control_plane(given: argparse.Namespace) -> int:
    """0 if all control planes are healthy, 1 if one is not, 2 if that could not be told."""
    console = Console()
    return in_cluster(
        given,
        lambda client: _verify(
            client,
            namespace=given.osm_namespace,
            form=given.output,
            console=console,
            confirm=asked_on_terminal if given.fix else None,
        ),
    )


Confirm = Callable[[str], bool]


def asked_on_terminal(question: str) -> bool:
    """What the person says; no answer is a no. The question is no part of the output."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _verify(
    client: KubernetesClient, *, namespace: str, form: str, console: Console, confirm: Confirm | None
) -> int:
    seen = await _look(client, namespace, console=console)
    result = judge(seen, now=datetime.now(UTC))
    held_back = confirm is not None and form != "text"  # a program gets one document: the last
    if not held_back:
        _show(result, form=form, console=console)
    changed = confirm is not None and await _fix(client, seen, confirm=confirm, console=console)
    if changed:
        result = judge(await _look(client, namespace, console=console), now=datetime.now(UTC))
    if changed or held_back:
        _show(result, form=form, console=console)
    return _EXIT[result.status]


async def _look(client: KubernetesClient, namespace: str, *, console: Console) -> ClusterState:
    with console.working("looking at the control planes"):
        return await look(client, namespace=namespace)


def _show(result: Result, *, form: str, console: Console) -> None:
    if form != "text":
        console.document(result, form=form)
        return
    for line in tree(result):
        console.line(*line)


async def _fix(client: KubernetesClient, seen: ClusterState, *, confirm: Confirm, console: Console) -> bool:
    """End each enrolment that may not be, if the person wants it; whether anything was changed."""
    owners = {} if isinstance(seen.owners, KubernetesError) else seen.owners
    changed = False
    for home in sorted({each.plane.namespace for each in seen.planes} & owners.keys()):
        if not confirm(f"Remove namespace {home} from mesh {owners[home]}?"):
            continue
        try:
            console.warn(await remove_namespace(client, home, mesh=owners[home]))
            changed = True
        except OsmError as error:
            console.fail(error)
    return changed


def judge(seen: ClusterState, *, now: datetime) -> Result:
    """All that was seen, as one tree."""
    if not seen.planes:
        return unknown("Control planes", "No osm mesh control planes found", do=["install one, or see --osm-namespace"])
    planes = [together(_name(each), list(_judge_plane(each, seen, now=now))) for each in seen.planes]
    return together("Control planes", [*planes, judge_crds(seen.served)])


def _name(seen: ControlPlaneState) -> str:
    return f"Mesh {seen.plane.mesh} in namespace {seen.plane.namespace}"


def _judge_plane(seen: ControlPlaneState, all_seen: ClusterState, *, now: datetime) -> Iterator[Result]:
    plane = seen.plane
    yield judge_enrolment(plane, all_seen.owners)
    for app in _APPS:
        why = _why_no_pods(seen, app, now=now)
        yield judge_replicas(app, plane.deployment_of(app), plane.pods_of(app), why=why)
    for pod in seen.pods:
        metadata = pod.pod.metadata
        yield together(f"Pod {metadata.name}", list(_judge_pod(pod, seen, all_seen, now=now)))
    yield from (judge_leaving(pod) for pod in plane.pods if pod.leaving)
    yield judge_webhook(plane, all_seen.webhooks, now=now)
    yield judge_services(seen.services, seen.slices)
    for app, allowed in seen.allowed.items():
        yield judge_permissions(app, allowed)
    yield judge_lease(seen.lease_holder, plane.pods_of(CONTROLLER))
    yield judge_versions(_versions(seen))


def _judge_pod(seen: PodState, plane: ControlPlaneState, all_seen: ClusterState, *, now: datetime) -> Iterator[Result]:
    name = seen.pod.metadata.name
    yield judge_sidecar(seen.pod, owners=all_seen.owners)
    yield judge_state(seen.pod)
    yield judge_events(_about(plane, lambda about: (about.kind, about.name) == ("Pod", name)), now=now)
    yield judge_logs(seen.logs, now=now)
    yield from judge_probes(seen.probes)
    yield judge_certificates(seen.metrics)
    if seen.distrust is not None:
        yield judge_trust(seen.distrust)


def _why_no_pods(seen: ControlPlaneState, app: str, *, now: datetime) -> list[str]:
    """What its ReplicaSets say."""
    events = _about(seen, lambda about: about.kind == "ReplicaSet" and about.name.startswith(app))
    return [] if isinstance(events, KubernetesError) else shown(told_by(events), now=now)


def _about(seen: ControlPlaneState, wanted: Callable[[Involved], bool]) -> list[Event] | KubernetesError:
    if isinstance(seen.events, KubernetesError):
        return seen.events
    return [each for each in seen.events if wanted(each.involved_object)]


def _versions(seen: ControlPlaneState) -> dict[str, str]:
    """Whose version is which; a label that nobody set is left out."""
    installed = {f"Deployment {app}": seen.plane.version_of(app) for app in _APPS}
    return {"this command": __version__, **installed, **{each.pod.metadata.name: each.version for each in seen.pods}}
