"""What happens to this program or to a proxy -> Events on its pod, which `kubectl describe pod` shows."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import msgspec

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Changes
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import (
    BusyError,
    ConflictError,
    KubernetesError,
    NotFoundError,
    UnreachableError,
)
from osm_probes.kube.event_object import (
    EventSeries,
    EventSource,
    PodReference,
    Severity,
    event_name,
    truncate_message,
)
from osm_probes.kube.kind import EVENTS, PODS
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.kube.wire import AnyObject, decode_object

_Key = tuple[PodReference, str, Severity]


@dataclass(frozen=True, slots=True)
class EventLimits:
    """interval: seconds between two writes of the same Event. max_events: how many Events are kept."""

    interval: float = 5.0
    max_events: int = 64


OWN_EVENTS: Final = EventLimits()
"""For the few reasons that a program reports about itself."""


@dataclass(slots=True)
class _Entry:
    """A series, the pod that it is about, and the earliest time of its next write."""

    pod: PodReference
    series: EventSeries
    due: float


class EventRecorder:
    """Records Events about the own pod and other pods; without the own pod's name it writes none about that.

    Each reason has one Event per pod and severity. A repetition raises the Event's count; `limits` says how often it is
    written. An Event about another pod that cannot be written is dropped, so that a missing permission is one warning
    and nothing else.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        namespace: str,
        pod: str,
        component: str,
        limits: EventLimits = OWN_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._own = PodReference(namespace, pod)
        self._source = EventSource(component, pod)
        self._limits = limits
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        self._changes = Changes()
        self._write_lock = asyncio.Lock()
        self._uid = ""
        self._write_problem = ProblemLog(
            "kubernetes", began="Events cannot be written", ended="Events can be written again", clock=clock
        )
        self._pod_problem = ProblemLog(
            "kubernetes",
            began="the own pod cannot be read: kubectl describe will not show its Events",
            ended="the own pod can be read: kubectl describe will show its Events",
            clock=clock,
        )

    def record(self, reason: str, message: str, *, severity: Severity, pod: PodReference | None = None) -> None:
        """Queue an occurrence for `run` to write. Call it on the event loop, as often as needed; it never waits.

        reason: from a small fixed set. message: for a person. pod: another pod than the own.
        """
        self._add(reason, message, severity, pod=pod or self._own)

    async def record_now(self, reason: str, message: str, *, within: float) -> None:
        """Write a Warning before this returns, in at most `within` seconds. A failure is logged, not raised."""
        entry = self._add(reason, message, Severity.WARNING, pod=self._own)
        if entry is None:
            return
        try:
            async with asyncio.timeout(within):
                # Two requests: read the pod, write the Event.
                await self._write(entry, self._client.with_timeout(within / 2))
        except TimeoutError:
            logger("kubernetes").warning("an Event cannot be written", reason=reason, error="no response in time")
        except KubernetesError as error:
            logger("kubernetes").warning(
                "an Event cannot be written", reason=reason, error=self._explain_write(error, entry.pod)
            )

    async def run(self) -> None:
        """Write the queued Events, until cancelled. While the API server is unreachable they stay queued."""
        backoff = Backoff()
        while True:
            seen = self._changes.version
            failure = await self._write_due()
            if failure is None:
                backoff.reset()
                await self._wait_until_due(seen)
            else:
                await asyncio.sleep(backoff.pause(at_least=failure.retry_after))

    def _add(self, reason: str, message: str, severity: Severity, *, pod: PodReference) -> _Entry | None:
        """Count an occurrence; None if no Event will be written for it."""
        key = (pod, reason, severity)
        if not pod.name or not self._make_room(key):
            logger("kubernetes").debug("no Event is written", reason=reason, text=message)
            return None
        now, text = datetime.now(UTC), truncate_message(message)
        entry = self._entries.get(key)
        if entry is None:
            series = EventSeries(event_name(pod.name, secrets.token_hex(8)), reason, severity, text, now, now)
            entry = self._entries[key] = _Entry(pod, series, self._clock())
        else:
            entry.series = entry.series.repeat(text, at=now)
        self._changes.notify()
        return entry

    def _make_room(self, key: _Key) -> bool:
        """Drop the written series with the oldest occurrence if needed. False if all series are unwritten."""
        if key in self._entries or len(self._entries) < self._limits.max_events:
            return True
        written = {other: entry.series.last for other, entry in self._entries.items() if not entry.series.pending}
        if written:
            del self._entries[min(written, key=lambda other: written[other])]
        return bool(written)

    def _pending(self) -> Iterator[_Entry]:
        return (entry for entry in self._entries.values() if entry.series.pending)

    async def _wait_until_due(self, seen: int) -> None:
        due = min((entry.due for entry in self._pending()), default=None)
        await self._changes.changed_after(seen, within=None if due is None else max(0.0, due - self._clock()))

    async def _write_due(self) -> KubernetesError | None:
        """Write all Events that are due and return the last failure. A rejected Event does not delay the others."""
        failure: KubernetesError | None = None
        # A list, because occurrences may be added during the writes.
        for key, entry in [(key, entry) for key, entry in self._entries.items() if self._is_due(entry)]:
            try:
                await self._write(entry, self._client)
            except (UnreachableError, BusyError) as error:
                logger("kubernetes").debug("an Event cannot be written yet", error=str(error))
                return error
            except KubernetesError as error:
                failure = self._handle_failure(error, key) or failure
        return failure

    def _handle_failure(self, error: KubernetesError, key: _Key) -> KubernetesError | None:
        """Report the failure. Returns it if the write is tried again."""
        pod, _, _ = key
        if pod != self._own:
            self._entries.pop(key, None)
            if isinstance(error, NotFoundError):
                return None  # the pod was deleted meanwhile
        self._write_problem.update(self._explain_write(error, pod))
        return error if pod == self._own else None

    def _is_due(self, entry: _Entry) -> bool:
        return entry.series.pending and entry.due <= self._clock()

    async def _write(self, entry: _Entry, client: KubernetesClient) -> None:
        """Bring the Event of a series up to date. Raises KubernetesError."""
        async with self._write_lock:
            series = entry.series
            if not series.pending:
                return
            try:
                await (self._patch(entry, client) if series.written else self._create(entry, client))
            except NotFoundError:
                if not series.written:
                    raise
                # The API server deletes an Event after an hour.
                await self._create(entry, client)
            entry.series = replace(entry.series, written=series.count)
            entry.due = self._clock() + self._limits.interval
            self._write_problem.update("")

    async def _create(self, entry: _Entry, client: KubernetesClient) -> None:
        pod = entry.pod
        uid = await (self._own_uid(client) if pod == self._own else _uid_of(pod, client))
        try:
            await client.create(EVENTS, entry.series.event(pod, self._source, uid=uid), namespace=pod.namespace)
        except ConflictError:
            # An earlier attempt succeeded, but its response was lost.
            await self._patch(entry, client)

    async def _patch(self, entry: _Entry, client: KubernetesClient) -> None:
        await client.patch(EVENTS, entry.series.name, entry.series.patch(), namespace=entry.pod.namespace)

    async def _own_uid(self, client: KubernetesClient) -> str:
        """The own pod's uid, by which `kubectl describe` finds Events; "" if the pod cannot be read.

        Raises UnreachableError and BusyError, so that the Event is written later.
        """
        if not self._uid:
            try:
                pod = await client.read(PODS, self._own.name, namespace=self._own.namespace)
                self._uid = decode_object(pod).metadata.uid
            except (UnreachableError, BusyError):
                raise
            except KubernetesError as error:
                self._pod_problem.update(error.explain(_permission("get pods", self._own)))
            except msgspec.DecodeError as error:
                self._pod_problem.update(str(error))
            else:
                self._pod_problem.update("")
        return self._uid

    def _explain_write(self, error: KubernetesError, pod: PodReference) -> str:
        return error.explain(_permission("create and patch events", pod))


async def _uid_of(pod: PodReference, client: KubernetesClient) -> str:
    """Another pod's uid. It is listed, because a program may list all pods, but read only those in its namespace.

    Raises NotFoundError if there is no such pod any more.
    """
    found = await list_objects(
        client, ListOptions(PODS, namespace=pod.namespace, fields=f"metadata.name={pod.name}"), type=AnyObject
    )
    if not found:
        raise NotFoundError(f"pod {pod.namespace}/{pod.name} not found")
    return found[0].metadata.uid


def _permission(action: str, pod: PodReference) -> str:
    return f'{action} of API group "" in namespace {pod.namespace}'
