"""Check `Events`: warnings that Kubernetes reported about a pod of the control plane, and restarts by a probe.

Events are kept for an hour, so they may describe a fault that is over: the check warns, but does not fail.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.objects import Metadata
from osm_probes.cli.verify.messages import Message, summarize
from osm_probes.cli.verify.result import Result, success, unknown, warning
from osm_probes.kube.errors import KubernetesError

# A kubelet reports a restart after a failed probe by an Event of type Normal with this reason.
_KILLING: Final = "Killing"


class InvolvedObject(msgspec.Struct, frozen=True):
    """The object that an Event is about."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class EventSeries(msgspec.Struct, frozen=True, rename="camel"):
    """The repetitions of an Event of the API group events.k8s.io."""

    count: int = 0
    last_observed_time: datetime | None = None


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """An Event."""

    metadata: Metadata
    involved_object: InvolvedObject = msgspec.field(default_factory=InvolvedObject)
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: EventSeries | None = None

    @property
    def last_seen(self) -> datetime | None:
        """When it happened last; None if the Event has no time."""
        repeated = self.series.last_observed_time if self.series else None
        return repeated or self.last_timestamp or self.event_time or self.first_timestamp

    @property
    def occurrences(self) -> int:
        """How often it happened."""
        return (self.series.count if self.series else 0) or self.count or 1

    @property
    def is_problem(self) -> bool:
        """Whether it may explain a fault."""
        return self.type == "Warning" or (self.reason == _KILLING and "failed" in self.message)


def check_events(events: Sequence[Event] | KubernetesError, *, now: datetime) -> Result:
    """Check the Events of one pod."""
    if isinstance(events, KubernetesError):
        return unknown("Events", events.explain("list events"))
    messages = messages_from_events(events)
    return warning("Events", *summarize(messages, now=now)) if messages else success("Events")


def messages_from_events(events: Sequence[Event]) -> list[Message]:
    """The messages of those Events that may explain a fault."""
    return [
        Message(f"{event.reason}: {event.message.strip()}", event.last_seen, event.occurrences)
        for event in events
        if event.is_problem
    ]
