"""What happened to this program -> Events on its own pod, which `kubectl describe pod` shows."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import msgspec

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import (
    BusyError,
    ConflictError,
    KubernetesError,
    NotFoundError,
    UnreachableError,
)
from osm_probes.kube.event_object import EventSeries, EventSource, Severity, event_name, message_of
from osm_probes.kube.kind import EVENTS, PODS
from osm_probes.kube.wire import thing_of

_EVERY: Final = 5.0
_MOST_SERIES: Final = 64
_WRITE: Final = "create and patch events"
_READ: Final = "get pods"

_Key = tuple[str, Severity]


@dataclass(slots=True)
class _Topic:
    """A reason's series, and when it may be written (again)."""

    series: EventSeries
    due: float


class EventRecorder:
    """Events of one pod. A reason has one Event for each severity: a repetition raises its count, each 5 s at most.

    Without a pod's name nothing is written. `say` may be called as often as one likes, on the event loop: 64 reasons
    are kept at most.
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
        self._speaker = EventSource(namespace, pod, component)
        self._clock = clock
        self._topics: dict[_Key, _Topic] = {}
        self._says: Latest[int] = Latest(0)
        self._writing = asyncio.Lock()
        self._uid = ""
        self._refused: set[str] = set()

    def say(self, reason: str, message: str, *, severity: Severity) -> None:
        """Have it written soon; never waits. `reason` is one of few words, the message a person's."""
        self._note(reason, message, severity)

    async def say_now(self, reason: str, message: str, *, within: float) -> None:
        """Write one Warning before this returns, in so many seconds at most; whether that went well is logged only."""
        topic = self._note(reason, message, Severity.WARNING)
        if topic is None:
            return
        try:
            async with asyncio.timeout(within):
                # The pod is read, the Event written.
                await self._write(topic, self._client.bounded(within / 2))
        except TimeoutError:
            logger("kubernetes").warning("an Event cannot be written", reason=reason, error="no answer in time")
        except KubernetesError as error:
            words = error.needing(self._needed(_WRITE))
            logger("kubernetes").warning("an Event cannot be written", reason=reason, error=words)

    async def run(self) -> None:
        """Write what is said, without an end; while the API server is away it is kept."""
        backoff = Backoff()
        while True:
            seen = self._says.version
            failure = await self._write_due()
            if failure is None:
                backoff.reset()
                await self._until_due(seen)
            else:
                await asyncio.sleep(backoff.pause(at_least=failure.retry_after))

    def _note(self, reason: str, message: str, severity: Severity) -> _Topic | None:
        """Keep it for its Event; None if there will be none."""
        if not self._speaker.pod or not self._has_room(key := (reason, severity)):
            logger("kubernetes").debug("no Event is written", reason=reason, text=message)
            return None
        now, text = datetime.now(UTC), message_of(message)
        topic = self._topics.get(key)
        if topic is None:
            name = event_name(self._speaker.pod, secrets.token_hex(8))
            topic = self._topics[key] = _Topic(EventSeries(name, reason, severity, text, now, now), self._clock())
        else:
            topic.series = topic.series.again(text, at=now)
        self._says.set(self._says.value + 1)
        return topic

    def _has_room(self, key: _Key) -> bool:
        """Whether one more fits; the one that has said nothing for longest gives way."""
        if key in self._topics or len(self._topics) < _MOST_SERIES:
            return True
        silent = {each: topic.series.last for each, topic in self._topics.items() if not topic.series.pending}
        if silent:
            del self._topics[min(silent, key=lambda each: silent[each])]
        return bool(silent)

    def _waiting(self) -> Iterator[_Topic]:
        return (topic for topic in self._topics.values() if topic.series.pending)

    async def _until_due(self, seen: int) -> None:
        due = min((topic.due for topic in self._waiting()), default=None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._says.after(seen)

    async def _write_due(self) -> KubernetesError | None:
        """Write all that is due; the last failure, if any. An Event that is refused keeps no other waiting."""
        failure: KubernetesError | None = None
        # As it is now: more may be said while these are written.
        for topic in [each for each in self._waiting() if each.due <= self._clock()]:
            try:
                await self._write(topic, self._client)
            except (UnreachableError, BusyError) as error:
                logger("kubernetes").debug("an Event cannot be written yet", error=str(error))
                return error
            except KubernetesError as error:
                self._tell_once("Events cannot be written", error, _WRITE)
                failure = error
        return failure

    async def _write(self, topic: _Topic, client: KubernetesClient) -> None:
        """Bring a reason's Event up to date. Raises KubernetesError."""
        async with self._writing:
            series = topic.series
            if not series.pending:
                return
            try:
                await (self._patch(series, client) if series.written else self._create(series, client))
            except NotFoundError:
                if not series.written:
                    raise
                # It expired: an Event lives for an hour.
                await self._create(series, client)
            topic.series = replace(topic.series, written=series.said)
            topic.due = self._clock() + _EVERY
            self._refused.discard(_WRITE)

    async def _create(self, series: EventSeries, client: KubernetesClient) -> None:
        body = series.event(self._speaker, uid=await self._find_uid(client))
        try:
            await client.create(EVENTS, body, namespace=self._speaker.namespace)
        except ConflictError:
            # An earlier attempt had arrived; only its answer was lost.
            await self._patch(series, client)

    async def _patch(self, series: EventSeries, client: KubernetesClient) -> None:
        await client.patch(EVENTS, series.name, series.news(), namespace=self._speaker.namespace)

    async def _find_uid(self, client: KubernetesClient) -> str:
        """The own pod's uid, by which `kubectl describe` finds Events; "" where it is refused.

        Raises UnreachableError and BusyError: the Event can wait for it.
        """
        if not self._uid:
            try:
                pod = await client.read(PODS, self._speaker.pod, namespace=self._speaker.namespace)
                self._uid = thing_of(pod).metadata.uid
            except (UnreachableError, BusyError):
                raise
            except (KubernetesError, msgspec.DecodeError) as error:
                self._tell_once("kubectl describe will not show Events: the own pod cannot be read", error, _READ)
        return self._uid

    def _tell_once(self, what: str, error: Exception, permission: str) -> None:
        """Log what only a person can cure, until it is cured."""
        if permission not in self._refused:
            self._refused.add(permission)
            words = error.needing(self._needed(permission)) if isinstance(error, KubernetesError) else str(error)
            logger("kubernetes").warning(what, error=words)

    def _needed(self, permission: str) -> str:
        return f'{permission} of API group "" in namespace {self._speaker.namespace}'
