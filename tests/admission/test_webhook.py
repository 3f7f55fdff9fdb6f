import asyncio
import base64
import json
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from osm_probes.admission.namespaces import NamespaceFacts
from osm_probes.admission.patch import Injection
from osm_probes.admission.review import MalformedReviewError
from osm_probes.admission.self_check import SAMPLE_NAMESPACE, SAMPLE_UID, sample_review
from osm_probes.admission.webhook import Store, Webhook
from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.labels import IGNORE
from tests.admission.pods import ENROLLED, OPTIONS, UUID, Json, annotated, container, encoded, injection, pod, review


class KnownNamespaces:
    """Namespaces by name; what is an error is raised. `now`: what has changed, and nobody has heard of it yet."""

    def __init__(self, **heard: NamespaceFacts | Exception) -> None:
        self.heard: dict[str, NamespaceFacts | Exception | None] = {**heard}
        self.now: dict[str, NamespaceFacts | Exception | None] = {}
        self.asked = 0

    async def known(self, name: str) -> NamespaceFacts | None:
        return _raised(self.heard.get(name))

    async def newest(self, name: str) -> NamespaceFacts | None:
        self.asked += 1
        return _raised((self.heard | self.now).get(name))


def _raised(found: NamespaceFacts | Exception | None) -> NamespaceFacts | None:
    if isinstance(found, Exception):
        raise found
    return found


class Tally:
    """Counts as the program's metrics do."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, bool]] = []

    def reviewed(self, *, kind: str, success: bool) -> None:
        self.counted.append((kind, success))


class Shelf:
    """Keeps what is stored, after `first`; `refusal` says why nothing can be."""

    def __init__(self, first: Callable[[], Awaitable[object]] | None = None, *, refusal: str = "") -> None:
        self.kept: list[Injection] = []
        self.rehearsed = 0
        self._first = first
        self._refusal = refusal

    async def __call__(self, made: Injection) -> None:
        if self._first is not None:
            await self._first()
        self.kept.append(made)

    async def rehearse(self) -> None:
        self.rehearsed += 1
        if self._refusal:
            raise OsmError(self._refusal)


def webhook(
    *, store: Store | None = None, tally: Tally | None = None, bookstore: NamespaceFacts | Exception = ENROLLED
) -> Webhook:
    return Webhook(
        OPTIONS,
        namespaces=KnownNamespaces(bookstore=bookstore),
        within=0.05,
        store=store,
        observer=tally,
        new_uuid=lambda: UUID,
    )


async def response(asked: Json, made: Webhook) -> Json:
    answer: Json = json.loads(await made.answer(encoded(asked)))["response"]
    return answer


async def test_a_new_pod_is_patched_and_its_bootstrap_stored() -> None:
    shelf, tally = Shelf(), Tally()
    answer = await response(review(), webhook(store=shelf, tally=tally))
    assert answer["uid"] == "review-1"
    assert json.loads(base64.b64decode(answer["patch"])) == list(injection(pod()).operations)
    assert shelf.kept == [injection(pod())]
    assert tally.counted == [("Pod", True)]


async def test_a_dry_run_is_patched_and_nothing_is_stored() -> None:
    shelf = Shelf()
    assert "patch" in await response(review(dryRun=True), webhook(store=shelf))
    assert shelf.kept == []


async def test_the_self_check_is_patched_whatever_namespaces_say_and_leaves_no_trace() -> None:
    shelf, tally = Shelf(), Tally()
    made = webhook(store=shelf, tally=tally)
    answer = json.loads(await made.answer(sample_review()))["response"]
    assert (answer["uid"], answer["allowed"]) == (SAMPLE_UID, True)
    assert "patch" in answer
    assert "patch" in await response(review(namespace=SAMPLE_NAMESPACE, dryRun=False), made)
    assert (shelf.kept, tally.counted) == ([], [])


@pytest.mark.parametrize(
    "asked",
    [
        review(namespace="elsewhere"),
        review(pod(hostNetwork=True)),
        review(operation="UPDATE"),
        review(kind={"group": "", "version": "v1", "kind": "Service"}, object={"spec": {}}),
    ],
)
async def test_what_gets_no_sidecar_is_let_in_as_it_is(asked: Json) -> None:
    shelf = Shelf()
    assert await response(asked, webhook(store=shelf)) == {"uid": "review-1", "allowed": True}
    assert shelf.kept == []


@pytest.mark.parametrize(
    ("original", "words"),
    [
        (annotated(sidecar_injection="on"), "sidecar-injection of the pod is 'on'"),
        (annotated(inbound_port_exclusion_list="x"), "inbound-port-exclusion-list has 'x'"),
        (pod(container("envoy")), "named envoy"),
        (
            pod(container("envoy"), metadata={"labels": {"osm-proxy-uuid": UUID}}),
            "named envoy, which its sidecar needs",
        ),
        ({"spec": {"containers": []}}, "no pod: Object missing required field `metadata`"),
        (pod(container(ports=7)), "at `$.spec.containers[0].ports`"),
        ([[[]]], "no pod: Expected `object`, got `array`"),
    ],
)
async def test_a_pod_that_cannot_have_a_sidecar_is_denied_with_words(original: object, words: str) -> None:
    shelf, tally = Shelf(), Tally()
    answer = await response(review(original), webhook(store=shelf, tally=tally))
    assert (answer["uid"], answer["allowed"], answer["status"]["code"]) == ("review-1", False, 400)
    assert words in answer["status"]["message"]
    assert shelf.kept == []
    assert tally.counted == [("Pod", False)]


async def test_a_namespace_that_cannot_be_known_now_denies_the_pod() -> None:
    answer = await response(review(), webhook(bookstore=OsmError("no API server")))
    assert answer["status"] == {"message": "no sidecar: no API server", "code": 500}


UNASKED = NamespaceFacts(ENROLLED.labels)
IGNORED = NamespaceFacts({**ENROLLED.labels, IGNORE: "true"}, ENROLLED.annotations)


@pytest.mark.parametrize("heard", [None, NamespaceFacts(), UNASKED, IGNORED])
async def test_a_namespace_that_has_just_changed_lets_nobody_in_bare(heard: NamespaceFacts | None) -> None:
    namespaces = KnownNamespaces()
    namespaces.heard["bookstore"], namespaces.now["bookstore"] = heard, ENROLLED
    shelf = Shelf()
    assert "patch" in await response(review(), Webhook(OPTIONS, namespaces=namespaces, within=1, store=shelf))
    assert len(shelf.kept) == 1


@pytest.mark.parametrize("heard", [None, NamespaceFacts(), UNASKED, IGNORED])
async def test_nobody_is_let_in_bare_if_the_namespace_cannot_be_asked_for(heard: NamespaceFacts | None) -> None:
    namespaces = KnownNamespaces()
    namespaces.heard["bookstore"], namespaces.now["bookstore"] = heard, OsmError("no API server")
    answer = await response(review(), Webhook(OPTIONS, namespaces=namespaces, within=1))
    assert answer["status"] == {"message": "no sidecar: no API server", "code": 500}


@pytest.mark.parametrize(
    "asked",
    [
        review(),
        review(pod(hostNetwork=True)),
        review(annotated(sidecar_injection="no")),
        review(namespace="kube-system"),
        review(namespace="osm-system"),
    ],
)
async def test_whom_no_word_of_the_namespace_would_change_waits_for_nobody(asked: Json) -> None:
    namespaces = KnownNamespaces(bookstore=ENROLLED)
    assert (await response(asked, Webhook(OPTIONS, namespaces=namespaces, within=1)))["allowed"]
    assert namespaces.asked == 0


async def test_a_bootstrap_that_cannot_be_stored_denies_the_pod() -> None:
    async def fail() -> None:
        raise RuntimeError("disk full")

    answer = await response(review(), webhook(store=Shelf(fail)))
    assert answer["status"] == {"message": "no sidecar: RuntimeError: disk full", "code": 500}


async def test_a_self_check_rehearses_what_it_must_not_store() -> None:
    shelf = Shelf()
    made = Webhook(OPTIONS, namespaces=KnownNamespaces(), within=1, store=shelf)
    assert json.loads(await made.answer(sample_review()))["response"]["allowed"]
    assert (shelf.kept, shelf.rehearsed) == ([], 1)
    made = Webhook(OPTIONS, namespaces=KnownNamespaces(), within=1, store=Shelf(refusal="forbidden"))
    with capture_logs() as lines:
        answer = json.loads(await made.answer(sample_review()))["response"]
    assert answer["status"]["message"] == "no sidecar: forbidden"
    # The check that asked says so, once; it is no pod that was refused.
    assert [line["log_level"] for line in lines] == ["debug"]


async def test_an_answer_that_takes_too_long_denies_the_pod() -> None:
    answer = await response(review(), webhook(store=Shelf(asyncio.Event().wait)))
    assert answer["status"] == {"message": "no sidecar within 0.05 s; try again", "code": 504}


async def test_a_malformed_review_is_counted_and_raised() -> None:
    tally = Tally()
    with pytest.raises(MalformedReviewError):
        await webhook(tally=tally).answer(b"{}")
    assert tally.counted == [("other", False)]


async def test_each_pod_has_a_uuid_of_its_own() -> None:
    shelf = Shelf()
    made = Webhook(OPTIONS, namespaces=KnownNamespaces(bookstore=ENROLLED), within=1, store=shelf)
    for _ in range(3):
        await made.answer(encoded(review()))
    assert len({each.proxy.uuid for each in shelf.kept}) == 3
