"""What happened to this program -> Events on its own pod, which `kubectl describe pod` shows.

The form is that of https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ in core/v1.
"""

import asyncio
import enum
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from osm_probes.foundation.logs import logger
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import AbsentError, ForbiddenError, KubernetesError
from osm_probes.kube.kind import EVENTS, PODS
from osm_probes.kube.pace import Pace

_MESSAGE_LIMIT: Final = 1024
_EVERY: Final = 5.0


class Severity(enum.Enum):
    """The type of an Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(slots=True)
class _Series:
    """One reason's Event: what is to be said, and what was. `name` empty = there is no Event yet."""

    severity: Severity
    message: str = ""
    first: str = ""
    count: int = 0
    unsaid: int = 0
    name: str = ""
    said_at: float = field(default=-_EVERY)


class _Object(msgspec.Struct):
    metadata: dict[str, Any]


class EventRecorder:
    """Events of one pod. One reason has one Event: a repetition raises its count, each 5 s at most.

    Without a pod's name nothing is written. `say` may be called as often as one likes, on the event loop.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        namespace: str,
        pod: str,
        component: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._pod = pod
        self._component = component
        self._clock = clock
        self._uid = ""
        self._series: dict[str, _Series] = {}
        self._wake = asyncio.Event()

    def say(self, reason: str, message: str, *, severity: Severity) -> None:
        """Have it written soon; never waits. `reason` is one of few words, the message a person's."""
        series = self._series.setdefault(reason, _Series(severity))
        series.message, series.severity = message[:_MESSAGE_LIMIT], severity
        series.unsaid += 1
        self._wake.set()

    async def run(self) -> None:
        """Write what was said, without an end."""
        pace = Pace(most=30.0)
        while True:
            self._wake.clear()
            try:
                due = await self._write_due()
                pace.reset()
            except KubernetesError as error:
                hint = "; its user must be allowed to create and patch events" if _forbidden(error) else ""
                logger("kubernetes").debug("an Event cannot be written", error=f"{error}{hint}")
                due = pace.pause()
            await self._sleep(due)

    async def say_now(self, reason: str, message: str, *, within: float) -> None:
        """Write one Warning before this returns, in so many seconds at most; whether that went well is logged only."""
        series = _Series(Severity.WARNING, message[:_MESSAGE_LIMIT], unsaid=1)
        self._client = self._client.bounded(within / 2)  # the pod is read, the Event written
        try:
            await self._write(reason, series)
        except KubernetesError as error:
            logger("kubernetes").warning("an Event cannot be written", reason=reason, error=str(error))

    async def _write_due(self) -> float | None:
        """Write what may be written now; the seconds until more may be, None if nothing waits."""
        pause = None
        for reason, series in self._series.items():
            left = series.said_at + _EVERY - self._clock()
            if series.unsaid and left <= 0:
                await self._write(reason, series)
            elif series.unsaid:
                pause = left if pause is None else min(pause, left)
        return pause

    async def _write(self, reason: str, series: _Series) -> None:
        if not self._pod:
            series.unsaid = 0
            return
        await self._find_uid()
        now = f"{datetime.now(UTC):%FT%TZ}"
        telling, count = series.unsaid, series.count + series.unsaid
        said = {"message": series.message, "lastTimestamp": now, "count": count, "type": series.severity.value}
        if series.name:
            try:
                await self._client.patch(EVENTS, series.name, said, namespace=self._namespace)
            except AbsentError:  # an Event lives for an hour
                series.name = ""
        if not series.name:
            series.first = now
            name = f"{self._pod[:230]}.{secrets.token_hex(8)}"
            body = {"metadata": {"name": name}, "reason": reason, "firstTimestamp": now, **said, **self._about()}
            await self._client.create(EVENTS, body, namespace=self._namespace)
            series.name = name
        series.count, series.said_at = count, self._clock()
        series.unsaid -= telling

    def _about(self) -> dict[str, Any]:
        pod = {"apiVersion": "v1", "kind": "Pod", "namespace": self._namespace, "name": self._pod}
        return {
            "involvedObject": pod | ({"uid": self._uid} if self._uid else {}),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._pod,
        }

    async def _find_uid(self) -> None:
        """`kubectl describe` shows those Events alone that have the pod's uid."""
        if self._uid:
            return
        try:
            content = await self._client.read(PODS, self._pod, namespace=self._namespace)
        except (AbsentError, ForbiddenError) as error:
            logger("kubernetes").debug("the own pod cannot be read", error=str(error))
        else:
            self._uid = str(msgspec.json.decode(content, type=_Object).metadata.get("uid", ""))

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


def _forbidden(error: KubernetesError) -> bool:
    return isinstance(error, ForbiddenError)
