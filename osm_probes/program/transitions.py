"""A probe's transitions -> Events on the own pod: kubelet never shows a probe's body, so here a person sees why."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from osm_probes.kube.events import EventRecorder
from osm_probes.kube.series import Severity
from osm_probes.probes.link import Transition
from osm_probes.probes.verdict import DRAINING

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
