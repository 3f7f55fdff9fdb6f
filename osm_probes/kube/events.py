"""What happens to this program -> Events on its own pod, which `kubectl describe pod` shows."""

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
from osm_probes.kube.event_object import EventSeries, EventSource, Severity, event_name, truncate_message
from osm_probes.kube.kind import EVENTS, PODS
from osm_probes.kube.wire import decode_object

_INTERVAL: Final = 5.0
_MAX_SERIES: Final = 64

_Key = tuple[str, Severity]


@dataclass(slots=True)
class _Entry:
    """A series, and the earliest time of its next write."""

    series: EventSeries
    due: float


class EventRecorder:
    """Records Events about one pod; without a pod's name it writes none.

    Each reason has one Event per severity. A repetition raises the Event's count, which is written at most every 5 s.
    At most 64 Events are kept.
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
        self._source = EventSource(namespace, pod, component)
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

    def record(self, reason: str, message: str, *, severity: Severity) -> None:
        """Queue an occurrence for `run` to write. Call it on the event loop, as often as needed; it never waits.

        reason: from a small fixed set. message: for a person.
        """
        self._add(reason, message, severity)

    async def record_now(self, reason: str, message: str, *, within: float) -> None:
        """Write a Warning before this returns, in at most `within` seconds. A failure is logged, not raised."""
        entry = self._add(reason, message, Severity.WARNING)
        if entry is None:
            return
        try:
            async with asyncio.timeout(within):
                # Two requests: read the pod, write the Event.
                await self._write(entry, self._client.with_timeout(within / 2))
        except TimeoutError:
            logger("kubernetes").warning("an Event cannot be written", reason=reason, error="no response in time")
        except KubernetesError as error:
            logger("kubernetes").warning("an Event cannot be written", reason=reason, error=self._explain_write(error))

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

    def _add(self, reason: str, message: str, severity: Severity) -> _Entry | None:
        """Count an occurrence; None if no Event will be written for it."""
        key = (reason, severity)
        if not self._source.pod or not self._make_room(key):
            logger("kubernetes").debug("no Event is written", reason=reason, text=message)
            return None
        now, text = datetime.now(UTC), truncate_message(message)
        entry = self._entries.get(key)
        if entry is None:
            name = event_name(self._source.pod, secrets.token_hex(8))
            entry = self._entries[key] = _Entry(EventSeries(name, reason, severity, text, now, now), self._clock())
        else:
            entry.series = entry.series.repeat(text, at=now)
        self._changes.notify()
        return entry

    def _make_room(self, key: _Key) -> bool:
        """Drop the written series with the oldest occurrence if needed. False if all series are unwritten."""
        if key in self._entries or len(self._entries) < _MAX_SERIES:
            return True
        written = {other: entry.series.last for other, entry in self._entries.items() if not entry.series.pending}
        if written:
            del self._entries[min(written, key=lambda other: written[other])]
        return bool(written)

    def _pending(self) -> Iterator[_Entry]:
        return (entry for entry in self._entries.values() if entry.series.pending)

    async def _wait_until_due(self, seen: int) -> None:
        due = min((entry.due for entry in self._pending()), default=None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._changes.after(seen)

    async def _write_due(self) -> KubernetesError | None:
        """Write all Events that are due and return the last failure. A rejected Event does not delay the others."""
        failure: KubernetesError | None = None
        # A list, because occurrences may be added during the writes.
        for entry in [entry for entry in self._pending() if entry.due <= self._clock()]:
            try:
                await self._write(entry, self._client)
            except (UnreachableError, BusyError) as error:
                logger("kubernetes").debug("an Event cannot be written yet", error=str(error))
                return error
            except KubernetesError as error:
                self._write_problem.update(self._explain_write(error))
                failure = error
        return failure

    async def _write(self, entry: _Entry, client: KubernetesClient) -> None:
        """Bring the Event of a series up to date. Raises KubernetesError."""
        async with self._write_lock:
            series = entry.series
            if not series.pending:
                return
            try:
                await (self._patch(series, client) if series.written else self._create(series, client))
            except NotFoundError:
                if not series.written:
                    raise
                # The API server deletes an Event after an hour.
                await self._create(series, client)
            entry.series = replace(entry.series, written=series.count)
            entry.due = self._clock() + _INTERVAL
            self._write_problem.update("")

    async def _create(self, series: EventSeries, client: KubernetesClient) -> None:
        body = series.event(self._source, uid=await self._pod_uid(client))
        try:
            await client.create(EVENTS, body, namespace=self._source.namespace)
        except ConflictError:
            # An earlier attempt succeeded, but its response was lost.
            await self._patch(series, client)

    async def _patch(self, series: EventSeries, client: KubernetesClient) -> None:
        await client.patch(EVENTS, series.name, series.patch(), namespace=self._source.namespace)

    async def _pod_uid(self, client: KubernetesClient) -> str:
        """The own pod's uid, by which `kubectl describe` finds Events; "" if the pod cannot be read.

        Raises UnreachableError and BusyError, so that the Event is written later.
        """
        if not self._uid:
            try:
                pod = await client.read(PODS, self._source.pod, namespace=self._source.namespace)
                self._uid = decode_object(pod).metadata.uid
            except (UnreachableError, BusyError):
                raise
            except KubernetesError as error:
                self._pod_problem.update(error.explain(self._permission("get pods")))
            except msgspec.DecodeError as error:
                self._pod_problem.update(str(error))
            else:
                self._pod_problem.update("")
        return self._uid

    def _explain_write(self, error: KubernetesError) -> str:
        return error.explain(self._permission("create and patch events"))

    def _permission(self, action: str) -> str:
        return f'{action} of API group "" in namespace {self._source.namespace}'
