"""Probe transitions and fatal errors -> Events on the program's own pod, which `kubectl describe pod` shows.

A kubelet shows neither the body of a failed probe nor why a container ended.
"""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from osm_probes.cluster.ca_secret_content import CaSecretError
from osm_probes.configuration.shared import SharedConfiguration
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.health.messages import DRAINING, Transition
from osm_probes.kube.connect import SERVICE_ACCOUNT, connect
from osm_probes.kube.errors import UnusableKubeconfigError
from osm_probes.kube.event_object import Severity
from osm_probes.kube.events import EventRecorder
from osm_probes.runtime.environment import UnknownCertificateManagerError

_FALLS: Final = {"alive": "NotAlive", "ready": "NotReady"}
_RECOVERIES: Final = {"alive": "Alive", "ready": "Ready"}
_WRITTEN_WITHIN: Final = 3.0
_FATAL_REASONS: Final = {
    UnknownCertificateManagerError: "FatalInvalidCertificateManager",
    CaSecretError: "FatalCertificateIssuanceFailure",
}


class PodEvent(NamedTuple):
    """What an Event says."""

    reason: str
    message: str
    severity: Severity


def event_of(transition: Transition) -> PodEvent:
    """The Event of a transition."""
    if transition.healthy:
        message = f"{transition.probe} again after {transition.lasted:.1f} s"
        return PodEvent(_RECOVERIES[transition.probe], message, Severity.NORMAL)
    severity = Severity.NORMAL if transition.reason == DRAINING else Severity.WARNING
    return PodEvent(_FALLS[transition.probe], f"{transition.check}: {transition.reason}", severity)


def transition_recorder(events: EventRecorder) -> Callable[[Transition], None]:
    """A function that records the Event of a transition, from any thread. Call this on the event loop."""
    loop = asyncio.get_running_loop()

    def record(transition: Transition) -> None:
        event = event_of(transition)
        loop.call_soon_threadsafe(lambda: events.record(event.reason, event.message, severity=event.severity))

    return record


class _Pod(NamedTuple):
    """The pod that an Event is about, and its cluster."""

    kubeconfig: str
    namespace: str
    name: str


def report_fatal(error: OsmError, *, component: str, shared: SharedConfiguration) -> None:
    """Write the Event of the error that ended the program. Without a cluster, do nothing."""
    if shared.mesh_dir is None:
        reason = _FATAL_REASONS.get(type(error), "FatalInitializationError")
        pod = _Pod(shared.kubeconfig, shared.osm_namespace, shared.pod)
        _write(reason, str(error), component=component, pod=pod)


def report_flags(message: str, argv: Sequence[str], *, component: str, pod: str) -> None:
    """Write the Event of wrong flags. It does not contain the flags: one of them may be a token."""
    _write("FatalInvalidCLIParameters", message, component=component, pod=_pod_by_flags(argv, pod))


def _pod_by_flags(argv: Sequence[str], pod: str) -> _Pod:
    """What the flags say about the cluster, as far as they can be parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--kubeconfig", default="")
    parser.add_argument("--osm-namespace", default="")
    try:
        given, _ = parser.parse_known_args(argv)
    except argparse.ArgumentError:
        given = argparse.Namespace(kubeconfig="", osm_namespace="")
    file = SERVICE_ACCOUNT / "namespace"
    namespace = given.osm_namespace or (file.read_text().strip() if file.exists() else "")
    return _Pod(given.kubeconfig, namespace, pod)


def _write(reason: str, message: str, *, component: str, pod: _Pod) -> None:
    async def write() -> None:
        async with connect(pod.kubeconfig, user_agent=component) as client:
            recorder = EventRecorder(client, namespace=pod.namespace, pod=pod.name, component=component)
            await recorder.record_now(reason, message, within=_WRITTEN_WITHIN)

    if not pod.name or not pod.namespace:
        return
    try:
        asyncio.run(write())
    except UnusableKubeconfigError as error:
        logger("kubernetes").warning("an Event cannot be written", reason=reason, error=str(error))
