"""Events -> what Kubernetes had to say about a control plane: newest first, each thing once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.objects import Metadata
from osm_probes.cli.verify.result import Result, unknown, warning
from osm_probes.cli.verify.summary import Told, shown
from osm_probes.kube.errors import KubernetesError

# A kubelet tells of a restart by an Event that is no warning.
_KILLED: Final = "Killing"


class Involved(msgspec.Struct, frozen=True):
    """Whom an Event is about."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Repeats(msgspec.Struct, frozen=True, rename="camel"):
    """How often a newer kind of Event happened."""

    count: int = 0
    last_observed_time: datetime | None = None


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """An Event."""

    metadata: Metadata
    involved_object: Involved = msgspec.field(default_factory=Involved)
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: Repeats | None = None

    @property
    def at(self) -> datetime | None:
        """When it happened last, if anybody says so."""
        repeated = self.series.last_observed_time if self.series else None
        return repeated or self.last_timestamp or self.event_time or self.first_timestamp

    @property
    def times(self) -> int:
        """How often it happened."""
        return (self.series.count if self.series else 0) or self.count or 1

    @property
    def matters(self) -> bool:
        """Whether a person who looks for a fault should see it."""
        return self.type == "Warning" or (self.reason == _KILLED and "failed" in self.message)


def told_by(events: Sequence[Event]) -> list[Told]:
    """What a person should see of them."""
    return [Told(f"{each.reason}: {each.message.strip()}", each.at, each.times) for each in events if each.matters]


def judge_events(events: Sequence[Event] | KubernetesError, *, now: datetime) -> Result:
    """Warnings explain a fault, but outlive it by an hour: they make nothing unhealthy by themselves."""
    if isinstance(events, KubernetesError):
        return unknown("Events", events.needing("list events"))
    told = told_by(events)
    return warning("Events", *shown(told, now=now)) if told else Result(name="Events")
