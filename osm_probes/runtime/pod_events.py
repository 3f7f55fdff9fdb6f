"""A probe's transitions -> Events on the own pod: kubelet never shows a probe's body, so here a person sees why."""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from osm_probes.cluster.ca_secret_content import AuthoritySecretError
from osm_probes.configuration.shared import Shared
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


class Told(NamedTuple):
    """An Event to be."""

    reason: str
    message: str
    severity: Severity


def told(transition: Transition) -> Told:
    """How a transition is told."""
    if transition.healthy:
        message = f"{transition.probe} again after {transition.lasted:.1f} s"
        return Told(_RECOVERIES[transition.probe], message, Severity.NORMAL)
    severity = Severity.NORMAL if transition.reason == DRAINING else Severity.WARNING
    return Told(_FALLS[transition.probe], f"{transition.check}: {transition.reason}", severity)


def telling(events: EventRecorder) -> Callable[[Transition], None]:
    """What tells each transition, from whatever thread; call this on the event loop."""
    loop = asyncio.get_running_loop()

    def tell(transition: Transition) -> None:
        event = told(transition)
        loop.call_soon_threadsafe(lambda: events.say(event.reason, event.message, severity=event.severity))

    return tell


_WITHIN: Final = 3.0
_REASONS: Final = {
    UnknownCertificateManagerError: "FatalInvalidCertificateManager",
    AuthoritySecretError: "FatalCertificateIssuanceFailure",
}


def report_fatal(error: OsmError, *, component: str, shared: Shared) -> None:
    """Write the Event of a start, or of a run, that this error ended. Where there is no cluster, do nothing."""
    if shared.mesh_dir is None:
        reason = _REASONS.get(type(error), "FatalInitializationError")
        where = _Where(shared.kubeconfig, shared.osm_namespace, shared.pod)
        _report(reason, str(error), component=component, where=where)


class _Where(NamedTuple):
    """The cluster and the pod that an Event is about."""

    kubeconfig: str
    namespace: str
    pod: str


def report_flags(words: str, argv: Sequence[str], *, component: str, pod: str) -> None:
    """Write the Event of a start that wrong flags ended. Not the flags: a token may be among them."""
    _report("FatalInvalidCLIParameters", words, component=component, where=_guessed(argv, pod))


def _guessed(argv: Sequence[str], pod: str) -> _Where:
    """What the flags say about the cluster, as far as they can be read at all."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--kubeconfig", default="")
    parser.add_argument("--osm-namespace", default="")
    try:
        given, _ = parser.parse_known_args(argv)
    except argparse.ArgumentError:
        given = argparse.Namespace(kubeconfig="", osm_namespace="")
    file = SERVICE_ACCOUNT / "namespace"
    namespace = given.osm_namespace or (file.read_text().strip() if file.exists() else "")
    return _Where(given.kubeconfig, namespace, pod)


def _report(reason: str, message: str, *, component: str, where: _Where) -> None:
    async def say() -> None:
        async with connect(where.kubeconfig, agent=component) as client:
            recorder = EventRecorder(client, namespace=where.namespace, pod=where.pod, component=component)
            await recorder.say_now(reason, message, within=_WITHIN)

    if not where.pod or not where.namespace:
        return
    try:
        asyncio.run(say())
    except UnusableKubeconfigError as error:
        logger("kubernetes").warning("an Event cannot be written", reason=reason, error=str(error))
