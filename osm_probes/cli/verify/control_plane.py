"""`osm verify control-plane`, `osm doctor`: state of a cluster -> a tree of results, printed with suggestions."""

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from osm_probes import __version__
from osm_probes.cli.api_client import run_with_client
from osm_probes.cli.namespace import remove_namespace
from osm_probes.cli.output import Console
from osm_probes.cli.verify.certificates import check_certificates
from osm_probes.cli.verify.collect import ClusterState, ControlPlaneState, PodState, collect_state
from osm_probes.cli.verify.crds import check_crds
from osm_probes.cli.verify.deployments import check_deployment, check_versions
from osm_probes.cli.verify.events import Event, InvolvedObject, check_events, messages_from_events
from osm_probes.cli.verify.ipv6_rules import check_ipv6_rules
from osm_probes.cli.verify.lease import check_lease
from osm_probes.cli.verify.logs import check_logs
from osm_probes.cli.verify.messages import summarize
from osm_probes.cli.verify.permissions import check_permissions
from osm_probes.cli.verify.pods import check_running, warn_of_inactive_pod
from osm_probes.cli.verify.probes import check_probes
from osm_probes.cli.verify.proxies import check_proxies
from osm_probes.cli.verify.result import Result, Status, group, render_tree, unknown
from osm_probes.cli.verify.services import check_services
from osm_probes.cli.verify.sidecar import check_namespace, check_sidecar
from osm_probes.cli.verify.webhook import check_certificate, check_webhook
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.names import CONTROLLER, INJECTOR

_EXIT_STATUS: Final = {Status.SUCCESS: 0, Status.WARNING: 0, Status.FAILURE: 1, Status.UNKNOWN: 2}
_APPS: Final = (CONTROLLER, INJECTOR)

Confirm = Callable[[str], bool]
"""Ask the user a question; True means yes."""


def verify_control_plane(arguments: argparse.Namespace) -> int:
    """Check all control planes and print the results; with --fix, also repair enrolments.

    The exit status is 0 if all control planes are healthy, 1 if one is not, 2 if that is unknown.
    """
    console = Console()
    return run_with_client(
        arguments,
        lambda client: _verify(
            client,
            namespace=arguments.osm_namespace,
            output_format=arguments.output,
            console=console,
            confirm=_confirm_on_terminal if arguments.fix else None,
        ),
    )


def _confirm_on_terminal(question: str) -> bool:
    """Ask on standard error, so that the question is not part of the output. No answer means no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _verify(
    client: KubernetesClient, *, namespace: str, output_format: str, console: Console, confirm: Confirm | None
) -> int:
    state = await _collect(client, namespace, console=console)
    result = check_cluster(state, now=datetime.now(UTC))
    if confirm is None:
        _print(result, output_format=output_format, console=console)
        return _EXIT_STATUS[result.status]
    is_text = output_format == "text"  # other programs get one document only: the last one
    if is_text:
        _print(result, output_format=output_format, console=console)
    changed = await _fix(client, state, confirm=confirm, console=console)
    if changed:
        result = check_cluster(await _collect(client, namespace, console=console), now=datetime.now(UTC))
    if changed or not is_text:
        _print(result, output_format=output_format, console=console)
    return _EXIT_STATUS[result.status]


async def _collect(client: KubernetesClient, namespace: str, *, console: Console) -> ClusterState:
    with console.progress("checking the control planes"):
        return await collect_state(client, namespace=namespace)


def _print(result: Result, *, output_format: str, console: Console) -> None:
    if output_format != "text":
        console.print_document(result, output_format=output_format)
        return
    for line in render_tree(result):
        console.print_line(*line)


async def _fix(client: KubernetesClient, state: ClusterState, *, confirm: Confirm, console: Console) -> bool:
    """Remove the control planes' namespaces from meshes, after a confirmation; return whether anything changed."""
    meshes = {} if isinstance(state.injecting_meshes, KubernetesError) else state.injecting_meshes
    changed = False
    for namespace in sorted({plane.control_plane.namespace for plane in state.control_planes} & meshes.keys()):
        mesh = meshes[namespace]
        if not confirm(f"Remove namespace {namespace} from mesh {mesh}?"):
            continue
        try:
            console.warn(await remove_namespace(client, namespace, mesh=mesh))
            changed = True
        except OsmError as error:
            console.print_error(error)
    return changed


def check_cluster(state: ClusterState, *, now: datetime) -> Result:
    """The results of all checks, as one tree."""
    name = "Control planes"
    if not state.control_planes:
        suggestions = ["install a control plane, or check --osm-namespace"]
        return unknown(name, "No osm mesh control planes found", suggestions=suggestions)
    results = [
        group(_control_plane_name(plane), list(_check_control_plane(plane, state, now=now)))
        for plane in state.control_planes
    ]
    return group(name, [*results, check_ipv6_rules(state.sidecar_pods), check_crds(state.discovery_errors)])


def _control_plane_name(state: ControlPlaneState) -> str:
    return f"Mesh {state.control_plane.mesh} in namespace {state.control_plane.namespace}"


def _check_control_plane(state: ControlPlaneState, cluster: ClusterState, *, now: datetime) -> Iterator[Result]:
    control_plane = state.control_plane
    yield check_namespace(control_plane, injecting_meshes=cluster.injecting_meshes)
    for app in _APPS:
        errors = _pod_creation_errors(state, app, now=now)
        deployment, pods = control_plane.deployment_of(app), control_plane.pods_of(app)
        yield check_deployment(app, deployment, pods, creation_errors=errors)
    for pod in state.pods:
        yield group(f"Pod {pod.pod.metadata.name}", list(_check_pod(pod, state, cluster, now=now)))
    yield from (warn_of_inactive_pod(pod) for pod in control_plane.pods if pod.inactive_reason)
    yield check_webhook(control_plane, cluster.webhooks, now=now)
    yield check_services(state.services, state.endpoint_slices)
    for app, permissions in state.permissions.items():
        yield check_permissions(app, permissions)
    yield check_lease(state.lease_holder, control_plane.pods_of(CONTROLLER))
    yield check_versions(_versions(state))


def _check_pod(pod: PodState, state: ControlPlaneState, cluster: ClusterState, *, now: datetime) -> Iterator[Result]:
    name = pod.pod.metadata.name
    yield check_sidecar(pod.pod, injecting_meshes=cluster.injecting_meshes)
    yield check_running(pod.pod)
    yield check_events(_events_about(state, lambda about: (about.kind, about.name) == ("Pod", name)), now=now)
    yield check_logs(pod.logs, now=now)
    yield from check_probes(pod.probes)
    yield check_certificates(pod.metrics)
    if pod.proxies is not None:
        yield check_proxies(pod.proxies)
    if pod.certificate_error is not None:
        yield check_certificate(pod.certificate_error)


def _pod_creation_errors(state: ControlPlaneState, app: str, *, now: datetime) -> list[str]:
    """The problems in the Events of the app's ReplicaSets."""
    events = _events_about(state, lambda about: about.kind == "ReplicaSet" and about.name.startswith(app))
    return [] if isinstance(events, KubernetesError) else summarize(messages_from_events(events), now=now)


def _events_about(state: ControlPlaneState, matches: Callable[[InvolvedObject], bool]) -> list[Event] | KubernetesError:
    if isinstance(state.events, KubernetesError):
        return state.events
    return [event for event in state.events if matches(event.involved_object)]


def _versions(state: ControlPlaneState) -> dict[str, str]:
    """The version of each component; empty if unknown."""
    deployments = {f"Deployment {app}": state.control_plane.version_of(app) for app in _APPS}
    pods = {pod.pod.metadata.name: pod.version for pod in state.pods}
    return {"this command": __version__, **deployments, **pods}
