"""What happened to this program -> the Event object that each reason has: pure.

The form is that of https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ in core/v1.
"""

import enum
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from osm_probes.kube.client import Object
from osm_probes.kube.kind import EVENTS, PODS

MESSAGE_LIMIT: Final = 1024
_NAME_LIMIT: Final = 253


class Severity(enum.Enum):
    """What Kubernetes calls an Event's type."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class EventSource:
    """Who speaks: a program (`component`) in a pod; `pod` "" if it is not known in which."""

    namespace: str
    pod: str
    component: str


@dataclass(frozen=True, slots=True)
class EventSeries:
    """One reason's Event. `said`: how often so far; `written`: how much of that the API server knows."""

    name: str
    reason: str
    severity: Severity
    message: str
    first: datetime
    last: datetime
    said: int = 1
    written: int = 0

    @property
    def pending(self) -> bool:
        """Whether there is something to write."""
        return self.said > self.written

    def again(self, message: str, *, at: datetime) -> "EventSeries":
        """The same, said once more."""
        return replace(self, message=message, last=at, said=self.said + 1)

    def news(self) -> Object:
        """What of its Event changes: a merge patch."""
        return {"count": self.said, "message": self.message, "lastTimestamp": timestamp(self.last)}

    def event(self, speaker: EventSource, *, uid: str) -> Object:
        """The Event, whole, in the form that kubelets write."""
        about = {
            "apiVersion": PODS.api_version,
            "kind": PODS.name,
            "namespace": speaker.namespace,
            "name": speaker.pod,
            "uid": uid,
        }
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.name,
            "metadata": {"namespace": speaker.namespace, "name": self.name},
            "involvedObject": about,
            "type": self.severity.value,
            "reason": self.reason,
            "source": {"component": speaker.component},
            "reportingComponent": speaker.component,
            "reportingInstance": speaker.pod,
            "firstTimestamp": timestamp(self.first),
            **self.news(),
        }


def event_name(pod: str, token: str) -> str:
    """The name of an Event about this pod; `token`: hexadecimal, never used before."""
    return f"{pod[: _NAME_LIMIT - len(token) - 1]}.{token}"


def message_of(text: str) -> str:
    """The text as an Event can have it: 1,024 characters at most, all of them UTF-8."""
    return text[:MESSAGE_LIMIT].encode("utf-8", "replace").decode()


def timestamp(at: datetime) -> str:
    """RFC 3339 in whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
