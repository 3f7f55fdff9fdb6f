"""Lists and watches of one kind -> its objects as they are now, whatever the API server does meanwhile.

The rules: https://kubernetes.io/docs/reference/using-api/api-concepts/ ("Efficient detection of changes").
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ExpiredError, KubernetesError, NotFoundError
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.wire import Meta, Page, WatchEvent, error_of, event_of, page_of, thing_of

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_PAGE: Final = 500
# A watch ends by itself then, so that after an upgrade of the API servers not all hang on the one that was first.
_WATCH_FOR: Final = (300, 600)
_ABSENT_AGAIN: Final = 5.0
_YIELD_EVERY: Final = 100


class Decoder(Protocol[T_co]):
    """One object's JSON -> what is kept of it."""

    def __call__(self, content: bytes, /) -> T_co | None:
        """The object, pruned; None if it is of no concern. Raises OsmError, naming the field."""


Key = tuple[str, str]
"""Namespace and name."""


class Observer(Protocol):
    """Who counts what a watch brings."""

    def __call__(self, kind: str, event: str, /) -> None:
        """Something arrived. event: added, modified, deleted, listed or failed."""


def unobserved(_kind: str, _event: str, /) -> None:
    """For who does not count."""


@dataclass(slots=True)
class _State(Generic[T]):
    """What is known: objects, those that cannot be used, and the version that it all is as of."""

    objects: dict[Key, T] = field(default_factory=dict)
    errors: dict[Key, str] = field(default_factory=dict)
    version: str = ""


class Informer(Generic[T]):
    """All objects of one kind as they are now.

    `notify` is called after each change of what can be read here; `revision` counts those of objects and errors.
    `synced`: the first list was complete; from then on what is known stays, however long the API server is away. An
    optional kind that does not exist is an empty list.
    `kind` is the one wanted, in the version that the API server serves.
    `trouble` says why it cannot be asked now, "" if it can. An object that cannot be used keeps its last good form;
    `errors` says which and why.
    """

    def __init__(
        self,
        client: KubernetesClient,
        wanted: ListOptions,
        *,
        decode: Decoder[T],
        notify: Callable[[], None],
        observe: Observer = unobserved,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wanted = wanted
        self.trouble = ""
        self.synced = False
        self.revision = 0
        self._client = client
        self._decode = decode
        self._notify = notify
        self._observe = observe
        self._clock = clock
        self._heard_at = clock()
        self._backoff = Backoff()
        self.kind = wanted.kind
        self._places = cycle(zip(wanted.kind.versions, wanted.paths, strict=True))
        self._asked, self._path = next(self._places)
        self._state: _State[T] = _State()

    @property
    def objects(self) -> Mapping[Key, T]:
        """The objects by namespace and name. Read it on the event loop; copy what you keep."""
        return self._state.objects

    @property
    def errors(self) -> Mapping[Key, str]:
        """Why some objects cannot be used as they are now."""
        return self._state.errors

    @property
    def age(self) -> float:
        """Seconds since the API server last said something about this kind; up to about 60 is silence as usual."""
        return self._clock() - self._heard_at

    async def run(self) -> None:
        """Keep it true, without an end."""
        while True:
            try:
                if not self._state.version:
                    await self._list()
                await self._watch()
                await asyncio.sleep(self._backoff.pause())
            except (ExpiredError, msgspec.DecodeError) as error:
                self._state.version = ""
                logger("kubernetes").debug("a new list is needed", kind=str(self.wanted.kind), error=str(error))
                await asyncio.sleep(self._backoff.pause())
            except NotFoundError as error:
                await self._miss(error)
            except KubernetesError as error:
                await self._fail(error)

    async def _list(self) -> None:
        """Take the whole list, page by page, in the place of what was known: what is missing was deleted."""
        fresh: _State[T] = _State()
        query = {**self.wanted.query, "limit": str(_PAGE)}
        while True:
            page = await self._ask_page(query)
            for index, item in enumerate(page.items or ()):
                self._take(item, _key(thing_of(item).metadata), fresh)
                if index % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            fresh.version = page.metadata.resource_version
            if not page.metadata.more:
                break
            query["continue"] = page.metadata.more
        self._observe(self.wanted.kind.plural, "listed")
        self._replace(fresh)

    def _replace(self, fresh: _State[T]) -> None:
        differs = fresh.objects != self._state.objects or fresh.errors != self._state.errors
        changed = differs or self.kind != self._asked or not self.synced
        self._state, self.synced, self.kind = fresh, True, self._asked
        self._heard(changed=changed)

    async def _ask_page(self, query: dict[str, str]) -> Page:
        accept = self.wanted.accept("PartialObjectMetadataList")
        try:
            content = await self._client.ask("GET", self._path, query=query, accept=accept)
        except ExpiredError:
            if "continue" not in query:
                raise
            # Paging took longer than the API server remembers: begin again, all at once.
            del query["continue"], query["limit"]
            content = await self._client.ask("GET", self._path, query=query, accept=accept)
        return page_of(content)

    async def _watch(self) -> None:
        """Take what changes, until the API server ends the watch."""
        lasts = random.uniform(*_WATCH_FOR)
        query = {
            **self.wanted.query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._state.version,
            "timeoutSeconds": f"{lasts:.0f}",
        }
        accept = self.wanted.accept("PartialObjectMetadata")
        async with self._client.lines(self._path, query=query, accept=accept) as lines:
            self._heard(changed=False)
            await self._follow(lines)

    async def _follow(self, lines: AsyncIterator[bytes]) -> None:
        index = 0
        async for line in lines:
            event = event_of(line)
            thing = thing_of(event.object)
            if event.type == "ERROR":
                raise error_of(thing)
            changed = event.type != "BOOKMARK" and self._apply(event, thing.metadata)
            self._state.version = thing.metadata.resource_version
            self._heard(changed=changed)
            # Only now: a watch that ends as soon as it has begun is no success.
            self._backoff.reset()
            index += 1
            if index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _apply(self, event: WatchEvent, metadata: Meta) -> bool:
        self._observe(self.wanted.kind.plural, event.type.lower())
        key = _key(metadata)
        if event.type != "DELETED":
            return self._take(event.object, key, self._state)
        known = self._state.objects.pop(key, None) is not None
        return (self._state.errors.pop(key, None) is not None) or known

    def _take(self, content: msgspec.Raw, key: Key, into: _State[T]) -> bool:
        """Keep an object; whether that changes anything. One that cannot be used keeps its last good form."""
        known, said = self._state.objects.get(key), self._state.errors.get(key, "")
        found, error = self._decoded(bytes(content), key, known)
        if error:
            into.errors[key] = error
        else:
            into.errors.pop(key, None)
        if error and error != said:
            logger("kubernetes").error("an object cannot be used: its last good form stays", error=error)
        # What is equal stays the very same object: readers compare by identity first.
        found = known if found == known else found
        if found is None:
            into.objects.pop(key, None)
        else:
            into.objects[key] = found
        return found is not known or error != said

    def _decoded(self, content: bytes, key: Key, known: T | None) -> tuple[T | None, str]:
        try:
            return self._decode(content), ""
        except OsmError as error:
            return known, f"{self._named(key)}: {error}"

    def _named(self, key: Key) -> str:
        namespace, name = key
        return f"{self.wanted.kind.name} {f'{namespace}/' if namespace else ''}{name}"

    def _heard(self, *, changed: bool) -> None:
        self._heard_at = self._clock()
        self.revision += changed
        if changed or self.trouble:
            self.trouble = ""
            self._notify()

    async def _miss(self, error: NotFoundError) -> None:
        """The kind does not exist, now or yet."""
        if not self.wanted.kind.optional:
            await self._fail(error)
            return
        self._asked, self._path = next(self._places)
        if self._path != self.wanted.paths[0]:
            return  # another version may be served
        self._replace(_State())
        await asyncio.sleep(_ABSENT_AGAIN * random.uniform(0.8, 1.2))

    async def _fail(self, error: KubernetesError) -> None:
        self._observe(self.wanted.kind.plural, "failed")
        self.trouble = f"{self.wanted.kind.plural} cannot be watched: {error.needing(self.wanted.permission)}"
        self._notify()
        await asyncio.sleep(self._backoff.pause(at_least=error.retry_after))


def _key(metadata: Meta) -> Key:
    return metadata.namespace, metadata.name
