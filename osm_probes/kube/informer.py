"""A local copy of all objects of one kind, kept while the API server fails.

A watch resumes at the resourceVersion of its last event; if that is too old (410), the objects are listed again.

The rules: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem import Problem
from osm_probes.kube.errors import ExpiredError, KubernetesError, NotFoundError
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import ListClient, list_pages
from osm_probes.kube.wire import ObjectMeta, WatchEvent, decode_object, decode_watch_event, watch_error

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

# A watch ends by itself after a time in this range, in seconds, so that the clients of an API server spread over all
# of them again after an upgrade.
_WATCH_SECONDS: Final = (300, 600)
_NOT_SERVED_RETRY: Final = 5.0
_YIELD_EVERY: Final = 100


class WatchClient(ListClient, Protocol):
    """The part of a KubernetesClient that an informer needs."""

    def stream_lines(
        self, path: str, *, query: Mapping[str, str], accept: str = "application/json"
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream the lines of a watch. Raises KubernetesError."""


class Decoder(Protocol[T_co]):
    """Decodes the JSON of one object."""

    def __call__(self, content: bytes, /) -> T_co | None:
        """The object, or None to leave it out. Raises OsmError, with the name of the invalid field."""


Key = tuple[str, str]
"""Namespace and name."""


class Observer(Protocol):
    """Counts what the API server sends, such as for metrics."""

    def __call__(self, kind: str, event: str, /) -> None:
        """kind: its plural. event: added, modified, deleted, listed or failed."""


def ignore_event(_kind: str, _event: str, /) -> None:
    """The Observer that does nothing."""


@dataclass(slots=True)
class _State(Generic[T]):
    """The objects, the errors of invalid ones, and the resourceVersion of both."""

    objects: dict[Key, T] = field(default_factory=dict)
    errors: dict[Key, str] = field(default_factory=dict)
    version: str = ""


class Informer(Generic[T]):
    """A cache of all selected objects of one kind, kept up to date by `run`.

    notify: called after each change of a public attribute; it must not block.
    revision: a counter of changes of `objects`, `errors` and `kind`.
    synced: true after the first complete list. From then on the objects stay available while the API server is away.
    kind: the kind in the version that is served. An optional kind that is not served is an empty list.
    problem: why the kind cannot be listed or watched now; false if it can.
    An object that becomes invalid keeps its last valid form; `errors` says why it is invalid.
    """

    def __init__(
        self,
        client: WatchClient,
        options: ListOptions,
        *,
        decode: Decoder[T],
        notify: Callable[[], None],
        observe: Observer = ignore_event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.problem = Problem()
        self.synced = False
        self.revision = 0
        self.kind = options.kind
        self._client = client
        self._decode = decode
        self._notify = notify
        self._observe = observe
        self._clock = clock
        self._last_contact = clock()
        self._backoff = Backoff()
        self._versions = cycle(options.versions)
        self._requested = next(self._versions)
        self._state: _State[T] = _State()

    @property
    def objects(self) -> Mapping[Key, T]:
        """The objects by namespace and name. Read it on the event loop; copy it to keep it."""
        return self._state.objects

    @property
    def errors(self) -> Mapping[Key, str]:
        """The reason for each object that is invalid now."""
        return self._state.errors

    @property
    def age(self) -> float:
        """Seconds since the API server last sent something about this kind. Up to about 60 is normal."""
        return self._clock() - self._last_contact

    async def run(self) -> None:
        """List, then watch, again and again, until cancelled."""
        while True:
            try:
                if not self._state.version:
                    await self._list()
                await self._watch()
                await asyncio.sleep(self._backoff.pause())
            except (ExpiredError, msgspec.DecodeError) as error:
                self._state.version = ""
                logger("kubernetes").debug("a new list is needed", kind=str(self.options.kind), error=str(error))
                await asyncio.sleep(self._backoff.pause())
            except NotFoundError as error:
                await self._handle_not_served(error)
            except KubernetesError as error:
                await self._handle_failure(error)

    async def _list(self) -> None:
        """Replace all objects by those of a new list; objects that it does not contain were deleted."""
        fresh: _State[T] = _State()
        async for page in list_pages(self._client, self._requested):
            if page.restarts:
                fresh = _State()
            for index, item in enumerate(page.items):
                self._store(item, _key(decode_object(item).metadata), fresh)
                if index % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            fresh.version = page.resource_version
        self._observe(self.options.kind.plural, "listed")
        self._replace_state(fresh)

    def _replace_state(self, fresh: _State[T]) -> None:
        differs = fresh.objects != self._state.objects or fresh.errors != self._state.errors
        changed = differs or self.kind != self._requested.kind or not self.synced
        self._state, self.synced, self.kind = fresh, True, self._requested.kind
        self._record_contact(changed=changed)

    async def _watch(self) -> None:
        """Apply changes until the API server ends the watch."""
        seconds = random.uniform(*_WATCH_SECONDS)
        query = {
            **self._requested.query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._state.version,
            "timeoutSeconds": f"{seconds:.0f}",
        }
        accept = self._requested.watch_type
        async with self._client.stream_lines(self._requested.path, query=query, accept=accept) as lines:
            self._record_contact(changed=False)
            await self._apply_events(lines)

    async def _apply_events(self, lines: AsyncIterator[bytes]) -> None:
        index = 0
        async for line in lines:
            event = decode_watch_event(line)
            content = decode_object(event.object)
            if event.type == "ERROR":
                raise watch_error(content)
            changed = event.type != "BOOKMARK" and self._apply(event, content.metadata)
            self._state.version = content.metadata.resource_version
            self._record_contact(changed=changed)
            # Only after an event: a watch that ends at once is a failure, and its retries must slow down.
            self._backoff.reset()
            index += 1
            if index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _apply(self, event: WatchEvent, metadata: ObjectMeta) -> bool:
        """Apply a change; whether `objects` or `errors` differ afterwards."""
        self._observe(self.options.kind.plural, event.type.lower())
        key = _key(metadata)
        if event.type != "DELETED":
            return self._store(event.object, key, self._state)
        known = self._state.objects.pop(key, None) is not None
        return (self._state.errors.pop(key, None) is not None) or known

    def _store(self, content: msgspec.Raw, key: Key, state: _State[T]) -> bool:
        """Store an object in `state`; whether it differs from before. An invalid one keeps its last valid form."""
        previous, previous_error = self._state.objects.get(key), self._state.errors.get(key, "")
        decoded, error = self._decode_or_keep(bytes(content), key, previous)
        if error:
            state.errors[key] = error
        else:
            state.errors.pop(key, None)
        if error and error != previous_error:
            logger("kubernetes").error("an object is invalid: its last valid form stays in use", error=error)
        # Keep the identity of an equal object: readers compare by identity first.
        decoded = previous if decoded == previous else decoded
        if decoded is None:
            state.objects.pop(key, None)
        else:
            state.objects[key] = decoded
        return decoded is not previous or error != previous_error

    def _decode_or_keep(self, content: bytes, key: Key, previous: T | None) -> tuple[T | None, str]:
        try:
            return self._decode(content), ""
        except OsmError as error:
            return previous, f"{self._display_name(key)}: {error}"

    def _display_name(self, key: Key) -> str:
        namespace, name = key
        return f"{self.options.kind.name} {f'{namespace}/' if namespace else ''}{name}"

    def _record_contact(self, *, changed: bool) -> None:
        self._last_contact = self._clock()
        self.revision += changed
        if changed or self.problem:
            self.problem = Problem()
            self._notify()

    async def _handle_not_served(self, error: NotFoundError) -> None:
        """Try the next version of an optional kind; if none is served, the list is empty."""
        if not self.options.kind.optional:
            await self._handle_failure(error)
            return
        self._requested = next(self._versions)
        if self._requested != self.options:
            return
        self._replace_state(_State())
        await asyncio.sleep(_NOT_SERVED_RETRY * random.uniform(0.8, 1.2))

    async def _handle_failure(self, error: KubernetesError) -> None:
        self._observe(self.options.kind.plural, "failed")
        reason = Problem(error.summary, error.explain(self.options.permission))
        self.problem = reason.after(f"{self.options.kind.plural} cannot be watched")
        self._notify()
        await asyncio.sleep(self._backoff.pause(at_least=error.retry_after))


def _key(metadata: ObjectMeta) -> Key:
    return metadata.namespace, metadata.name
