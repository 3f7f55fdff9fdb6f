import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.errors import BusyError, ExpiredError, ForbiddenError, KubernetesError, NotFoundError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import SERVICES, TRAFFIC_SPLITS, Kind
from osm_probes.kube.list_options import ListOptions
from tests.kube.scripted_client import ScriptedClient, event, page, service
from tests.log_capture import capture_logs

OPTIONS = ListOptions(SERVICES, labels="app")


class _Metadata(msgspec.Struct):
    labels: dict[str, str] = {}


class _Object(msgspec.Struct):
    metadata: _Metadata


def decode_is(content: bytes) -> str | None:
    """An object's label `is`; "bad" is invalid, "none" is left out."""
    value = msgspec.json.decode(content, type=_Object).metadata.labels.get("is", "")
    if value == "bad":
        raise OsmError("labels.is: bad")
    return None if value == "none" else value


class Observed:
    """An informer that runs, and what it notified and counted."""

    def __init__(self, client: ScriptedClient, options: ListOptions) -> None:
        self.counts: list[str] = []
        self.now = 0.0
        self.informer: Informer[str] = Informer(
            client,
            options,
            decode=decode_is,
            notify=self._notify,
            observe=lambda _kind, name: self.counts.append(name),
            clock=lambda: self.now,
        )
        self._changed = asyncio.Event()

    def _notify(self) -> None:
        self._changed.set()

    @property
    def known(self) -> dict[str, str]:
        """The label `is` of each object, by the object's name."""
        return {name: value for (_, name), value in self.informer.objects.items()}

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for notifications until the condition is true."""
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(client: ScriptedClient, options: ListOptions = OPTIONS) -> AsyncGenerator[Observed]:
    """A running informer on a scripted client."""
    observed = Observed(client, options)
    async with background_tasks(informer=observed.informer.run()):
        yield observed


async def until_watched(client: ScriptedClient, times: int) -> None:
    """Wait until the informer has started so many watches."""
    async with asyncio.timeout(5):
        while len(client.watched) < times:  # noqa: ASYNC110 - a watch without events does not notify
            await asyncio.sleep(0.005)


GONE = event("ERROR", {"code": 410, "message": "too old resource version"})


async def test_a_list_of_several_pages_is_one_change_and_is_watched_from_its_version() -> None:
    client = ScriptedClient(page("a", more="token", **{"is": "1"}), page("b", version="7", **{"is": "2"}))
    async with running(client) as observed:
        assert not observed.informer.synced
        await observed.until(lambda: observed.informer.synced)
        assert observed.known == {"a": "1", "b": "2"}
        assert observed.informer.revision == 1
        await until_watched(client, 1)
    assert observed.counts == ["listed"]
    path, query = client.watched[0]
    assert path == "/api/v1/services"
    assert 300 <= int(query["timeoutSeconds"]) <= 600
    assert {name: value for name, value in query.items() if name != "timeoutSeconds"} == {
        "labelSelector": "app",
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "7",
    }


async def test_an_object_deleted_while_the_list_restarts_is_not_kept() -> None:
    client = ScriptedClient(page("a", "deleted", more="token"), ExpiredError("too old"), page("a", "b", version="9"))
    async with running(client) as observed:
        await observed.until(lambda: observed.informer.synced)
        assert set(observed.known) == {"a", "b"}
        await until_watched(client, 1)
    assert client.requests[-1] == ("/api/v1/services", {"labelSelector": "app"})
    assert client.watched[0][1]["resourceVersion"] == "9"


async def test_watch_events_change_the_objects() -> None:
    lines = [
        event("ADDED", service("b", version="2", **{"is": "new"})),
        event("MODIFIED", service("a", version="3", **{"is": "changed"})),
        event("ADDED", service("c", version="4", **{"is": "none"})),
        event("DELETED", service("b", version="5")),
        event("BOOKMARK", {"metadata": {"resourceVersion": "8"}}),
    ]
    client = ScriptedClient(page("a", **{"is": "old"}), watches=[lines])
    async with running(client) as observed:
        await observed.until(lambda: observed.known == {"a": "changed"} and len(observed.counts) == 5)
        assert observed.informer.revision == 4, "the list, b, a, and the deletion of b"
        await until_watched(client, 2)
    assert observed.counts == ["listed", "added", "modified", "added", "deleted"]
    assert client.watched[1][1]["resourceVersion"] == "8", "a bookmark moves the version of the next watch"
    assert len(client.requests) == 1, "a watch that ended needs no new list"


async def test_an_equal_object_keeps_its_identity_and_is_no_change() -> None:
    lines = [event("MODIFIED", service("a", version="2", **{"is": "same value"})), GONE]
    client = ScriptedClient(page("a", **{"is": "same value"}), watches=[lines])
    async with running(client) as observed:
        await observed.until(lambda: observed.informer.synced)
        before = observed.informer.objects["shop", "a"]
        await until_watched(client, 1)
        assert observed.informer.objects["shop", "a"] is before
        assert observed.informer.revision == 1


async def test_a_watch_error_410_leads_to_a_new_list() -> None:
    client = ScriptedClient(page("a", "deleted"), page("a", "b", version="5"), watches=[[GONE]])
    async with running(client) as observed:
        await observed.until(lambda: set(observed.known) == {"a", "b"})
        await until_watched(client, 2)
        assert str(observed.informer.problem) == "", "a new list is no problem to report"
    assert [query["resourceVersion"] for _, query in client.watched] == ["1", "5"]


async def test_an_expired_version_of_a_watch_leads_to_a_new_list() -> None:
    client = ScriptedClient(page("a"), page("b", version="5"), watches=[ExpiredError("too old")])
    async with running(client) as observed:
        await observed.until(lambda: set(observed.known) == {"b"})


async def test_a_line_that_is_no_watch_event_leads_to_a_new_list() -> None:
    client = ScriptedClient(page("a"), page("b", version="5"), watches=[[b"<html>"]])
    async with running(client) as observed:
        await observed.until(lambda: set(observed.known) == {"b"})


async def test_an_invalid_object_keeps_its_last_valid_form_and_is_reported_once() -> None:
    lines = [
        event("MODIFIED", service("a", version="2", **{"is": "bad"})),
        event("MODIFIED", service("a", version="3", **{"is": "bad"})),
        GONE,
    ]
    client = ScriptedClient(page("a", **{"is": "good"}), page("a", version="4", **{"is": "bad"}), watches=[lines])
    with capture_logs() as logged:
        async with running(client) as observed:
            await observed.until(lambda: observed.informer.errors)
            await until_watched(client, 2)
            assert observed.known == {"a": "good"}, "a new list keeps the last valid form too"
            assert observed.informer.errors == {("shop", "a"): "Service shop/a: labels.is: bad"}
    errors = [line["error"] for line in logged if line["log_level"] == "error"]
    assert errors == ["Service shop/a: labels.is: bad"]


async def test_an_error_ends_when_the_object_becomes_valid_or_is_deleted() -> None:
    lines = [
        event("MODIFIED", service("a", version="2", **{"is": "good"})),
        event("DELETED", service("b", version="3")),
    ]
    client = ScriptedClient(page("a", "b", **{"is": "bad"}), watches=[lines])
    async with running(client) as observed:
        await observed.until(lambda: observed.counts[-1:] == ["deleted"])
        assert observed.known == {"a": "good"}
        assert observed.informer.errors == {}


async def test_an_optional_kind_that_is_not_served_is_an_empty_list() -> None:
    optional = Kind("example.com", "v1", "examples", "Example", optional=True)
    client = ScriptedClient(NotFoundError("404 page not found"))
    async with running(client, ListOptions(optional)) as observed:
        await observed.until(lambda: observed.informer.synced)
        assert observed.known == {}
        assert str(observed.informer.problem) == ""


async def test_another_version_is_listed_if_the_preferred_one_is_not_served() -> None:
    client = ScriptedClient(NotFoundError("404 page not found"), page("a"))
    async with running(client, ListOptions(TRAFFIC_SPLITS)) as observed:
        await observed.until(lambda: observed.informer.synced)
        assert set(observed.known) == {"a"}
        assert observed.informer.kind.api_version == "split.smi-spec.io/v1alpha4"
    assert [path for path, _ in client.requests] == [
        "/apis/split.smi-spec.io/v1alpha2/trafficsplits",
        "/apis/split.smi-spec.io/v1alpha4/trafficsplits",
    ]


async def test_a_required_kind_that_is_not_served_is_a_problem_and_is_not_synced() -> None:
    async with running(ScriptedClient(NotFoundError("404 page not found"))) as observed:
        await observed.until(lambda: observed.informer.problem)
        assert str(observed.informer.problem) == "services cannot be watched: 404 page not found"
        assert not observed.informer.synced
        assert observed.counts == ["failed"]


async def test_a_forbidden_list_names_the_missing_permission() -> None:
    async with running(ScriptedClient(ForbiddenError("no"))) as observed:
        await observed.until(lambda: observed.informer.problem)
    assert str(observed.informer.problem) == (
        'services cannot be watched: no; its user must be allowed to list and watch services of API group ""'
    )


async def test_objects_stay_during_a_failure_and_the_problem_ends_with_the_next_watch() -> None:
    failure: KubernetesError = BusyError("busy", retry_after=0.0)
    client = ScriptedClient(page("a"), watches=[failure])
    async with running(client) as observed:
        await observed.until(lambda: observed.informer.problem)
        assert set(observed.known) == {"a"}
        assert observed.informer.synced
        await observed.until(lambda: not observed.informer.problem)
        assert len(client.watched) == 2
        assert observed.informer.revision == 1, "a failure changes no object"


async def test_the_age_counts_from_the_last_response() -> None:
    client = ScriptedClient(page("a"))
    async with running(client) as observed:
        observed.now = 3.0
        await until_watched(client, 1)
        observed.now = 10.0
        assert observed.informer.age == 7.0
