"""Repeated occurrences of one reason -> an Event object with a count. Pure.

The format is core/v1, as kubelets write it:
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import enum
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from osm_probes.kube.client import JsonObject
from osm_probes.kube.kind import EVENTS, PODS

MESSAGE_LIMIT: Final = 1024
_NAME_LIMIT: Final = 253


class Severity(enum.Enum):
    """The `type` of an Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class PodReference:
    """A pod that Events are about."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class EventSource:
    """The program that reports Events: its name, and the name of the pod it runs in."""

    component: str
    instance: str


@dataclass(frozen=True, slots=True)
class EventSeries:
    """All occurrences of one reason, which share one Event.

    count: how many there were. written: the count in the API server; 0 if the Event does not exist there yet.
    """

    name: str
    reason: str
    severity: Severity
    message: str
    first: datetime
    last: datetime
    count: int = 1
    written: int = 0

    @property
    def pending(self) -> bool:
        """Whether there are occurrences that the API server does not know."""
        return self.count > self.written

    def repeat(self, message: str, *, at: datetime) -> "EventSeries":
        """The series with one more occurrence."""
        return replace(self, message=message, last=at, count=self.count + 1)

    def patch(self) -> JsonObject:
        """The merge patch that brings an existing Event up to date."""
        return {"count": self.count, "message": self.message, "lastTimestamp": timestamp(self.last)}

    def event(self, pod: PodReference, source: EventSource, *, uid: str) -> JsonObject:
        """The complete Event about the pod, which has this uid."""
        involved = {
            "apiVersion": PODS.api_version,
            "kind": PODS.name,
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": uid,
        }
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.name,
            "metadata": {"namespace": pod.namespace, "name": self.name},
            "involvedObject": involved,
            "type": self.severity.value,
            "reason": self.reason,
            "source": {"component": source.component},
            "reportingComponent": source.component,
            "reportingInstance": source.instance,
            "firstTimestamp": timestamp(self.first),
            **self.patch(),
        }


def event_name(pod: str, token: str) -> str:
    """A valid name for an Event about this pod. token: unique, hexadecimal."""
    return f"{pod[: _NAME_LIMIT - len(token) - 1]}.{token}"


def truncate_message(text: str) -> str:
    """The text as an Event accepts it: at most 1,024 characters, valid in UTF-8."""
    return text[:MESSAGE_LIMIT].encode("utf-8", "replace").decode()


def timestamp(at: datetime) -> str:
    """RFC 3339, in UTC and whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
