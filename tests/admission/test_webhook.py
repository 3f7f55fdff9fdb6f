import asyncio
import base64
import json

import pytest

from osm_probes.admission.canary_review import CANARY_NAMESPACE, CANARY_UID, canary_review
from osm_probes.admission.review import MalformedReviewError
from osm_probes.admission.webhook import BootstrapStore, Webhook
from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.labels import IGNORE
from osm_probes.mesh.mesh import NamespaceMetadata
from tests.admission.fakes import FakeBootstrapStore, FakeNamespaces, ReviewCounter
from tests.admission.pods import ENROLLED, OPTIONS, UUID, Json, annotated, container, encoded, injection, pod, review
from tests.log_capture import capture_logs


def webhook(
    *,
    store: BootstrapStore | None = None,
    counter: ReviewCounter | None = None,
    bookstore: NamespaceMetadata | Exception = ENROLLED,
    within: float = 5,
) -> Webhook:
    return Webhook(
        OPTIONS,
        namespaces=FakeNamespaces(bookstore=bookstore),
        within=within,
        bootstrap_store=store,
        observer=counter,
        new_uuid=lambda _identity: UUID,
    )


async def respond(request: Json, target: Webhook) -> Json:
    response: Json = json.loads(await target.answer(encoded(request)))["response"]
    return response


async def test_a_new_pod_is_patched_and_its_bootstrap_stored() -> None:
    store, counter = FakeBootstrapStore(), ReviewCounter()
    answer = await respond(review(), webhook(store=store, counter=counter))
    assert answer["uid"] == "review-1"
    assert json.loads(base64.b64decode(answer["patch"])) == list(injection(pod()).operations)
    assert store.stored == [injection(pod())]
    assert counter.counted == [("Pod", True)]


async def test_a_dry_run_is_patched_but_nothing_is_stored() -> None:
    store = FakeBootstrapStore()
    assert "patch" in await respond(review(dryRun=True), webhook(store=store))
    assert store.stored == []


async def test_each_review_of_a_new_pod_is_seen_when_it_arrives_except_the_canarys() -> None:
    counter = ReviewCounter()
    target = webhook(counter=counter)
    for body in (review(), review(namespace="elsewhere"), review(operation="UPDATE")):
        await respond(body, target)
    await target.answer(canary_review())
    assert len(counter.arrivals) == 2


async def test_the_canary_review_is_patched_without_a_namespace_and_is_neither_stored_nor_counted() -> None:
    store, counter = FakeBootstrapStore(), ReviewCounter()
    target = webhook(store=store, counter=counter)
    answer = json.loads(await target.answer(canary_review()))["response"]
    assert (answer["uid"], answer["allowed"]) == (CANARY_UID, True)
    assert "patch" in answer
    assert "patch" in await respond(review(namespace=CANARY_NAMESPACE, dryRun=False), target)
    assert (store.stored, counter.counted) == ([], [])


@pytest.mark.parametrize(
    "request_review",
    [
        review(namespace="elsewhere"),
        review(pod(hostNetwork=True)),
        review(operation="UPDATE"),
        review(kind={"group": "", "version": "v1", "kind": "Service"}, object={"spec": {}}),
    ],
)
async def test_an_object_that_gets_no_sidecar_is_admitted_unchanged(request_review: Json) -> None:
    store = FakeBootstrapStore()
    assert await respond(request_review, webhook(store=store)) == {"uid": "review-1", "allowed": True}
    assert store.stored == []


@pytest.mark.parametrize(
    ("original", "reason"),
    [
        (annotated(sidecar_injection="on"), "sidecar-injection of the pod is 'on'"),
        (annotated(inbound_port_exclusion_list="x"), "inbound-port-exclusion-list has 'x'"),
        (pod(container("envoy")), "named envoy"),
        (
            pod(container("envoy"), metadata={"labels": {"osm-proxy-uuid": UUID}}),
            "named envoy, which its sidecar needs",
        ),
        ({"spec": {"containers": []}}, "not a pod: Object missing required field `metadata`"),
        (pod(*[container()] * 251), "the pod has 251 containers; a pod with a sidecar may have at most 250"),
        (pod(*[container(livenessProbe={"httpGet": {"port": 80}})] * 22_556), "the pod has 22556 containers"),
        (annotated(outbound_ip_range_exclusion_list="10.0.0.1," * 90_000), "has 90001 items and 810000 characters"),
        (annotated(outbound_ip_range_exclusion_list="10.0.0.1," * 250_000), "the pod has about 2500"),
        (pod(*[{"name": ""}] * 240_000), "the pod has about 2400"),
        (
            pod(metadata={"labels": {str(number): "" for number in range(230_000)}}),
            "the pod has about 2300",
        ),
        (pod(serviceAccountName="a'b"), 'spec.serviceAccountName of the pod is "a\'b"'),
        (pod(metadata={"name": None}), "the pod has no name"),
        (pod(container(ports=7)), "at `$.spec.containers[0].ports`"),
        ([[[]]], "not a pod: Expected `object`, got `array`"),
    ],
)
async def test_a_pod_that_cannot_get_a_sidecar_is_denied_with_the_reason(original: object, reason: str) -> None:
    store, counter = FakeBootstrapStore(), ReviewCounter()
    answer = await respond(review(original), webhook(store=store, counter=counter))
    assert (answer["uid"], answer["allowed"], answer["status"]["code"]) == ("review-1", False, 400)
    assert reason in answer["status"]["message"]
    assert store.stored == []
    assert counter.counted == [("Pod", False)]


async def test_a_failed_namespace_lookup_denies_the_pod() -> None:
    answer = await respond(review(), webhook(bookstore=OsmError("no API server")))
    assert answer["status"] == {"message": "no sidecar: no API server", "code": 500}


NOT_ENABLED = NamespaceMetadata(ENROLLED.labels)
IGNORED = NamespaceMetadata({**ENROLLED.labels, IGNORE: "true"}, ENROLLED.annotations)


@pytest.mark.parametrize("cached", [None, NamespaceMetadata(), NOT_ENABLED, IGNORED])
async def test_a_pod_of_a_namespace_that_was_just_enrolled_gets_its_sidecar(cached: NamespaceMetadata | None) -> None:
    namespaces = FakeNamespaces()
    namespaces.cached["bookstore"], namespaces.current["bookstore"] = cached, ENROLLED
    store = FakeBootstrapStore()
    assert "patch" in await respond(review(), Webhook(OPTIONS, namespaces=namespaces, within=1, bootstrap_store=store))
    assert len(store.stored) == 1


@pytest.mark.parametrize("cached", [None, NamespaceMetadata(), NOT_ENABLED, IGNORED])
async def test_a_pod_is_denied_if_its_namespace_cannot_be_read_again(cached: NamespaceMetadata | None) -> None:
    namespaces = FakeNamespaces()
    namespaces.cached["bookstore"], namespaces.current["bookstore"] = cached, OsmError("no API server")
    answer = await respond(review(), Webhook(OPTIONS, namespaces=namespaces, within=1))
    assert answer["status"] == {"message": "no sidecar: no API server", "code": 500}


@pytest.mark.parametrize(
    "request_review",
    [
        review(),
        review(pod(hostNetwork=True)),
        review(annotated(sidecar_injection="no")),
        review(namespace="kube-system"),
        review(namespace="osm-system"),
    ],
)
async def test_the_namespace_is_read_again_only_if_it_could_change_the_outcome(request_review: Json) -> None:
    namespaces = FakeNamespaces(bookstore=ENROLLED)
    assert (await respond(request_review, Webhook(OPTIONS, namespaces=namespaces, within=1)))["allowed"]
    assert namespaces.requests == 0


async def test_a_failure_to_store_the_bootstrap_denies_the_pod() -> None:
    async def fail() -> None:
        raise RuntimeError("disk full")

    answer = await respond(review(), webhook(store=FakeBootstrapStore(fail)))
    assert answer["status"] == {"message": "no sidecar: RuntimeError: disk full", "code": 500}


async def test_the_canary_review_only_checks_the_permission_to_store_bootstraps() -> None:
    store = FakeBootstrapStore()
    target = Webhook(OPTIONS, namespaces=FakeNamespaces(), within=1, bootstrap_store=store)
    assert json.loads(await target.answer(canary_review()))["response"]["allowed"]
    assert (store.stored, store.permission_checks) == ([], 1)
    target = Webhook(
        OPTIONS, namespaces=FakeNamespaces(), within=1, bootstrap_store=FakeBootstrapStore(denial="forbidden")
    )
    with capture_logs() as lines:
        answer = json.loads(await target.answer(canary_review()))["response"]
    assert answer["status"]["message"] == "no sidecar: forbidden"
    # The judge logs the failing check; no pod was denied.
    assert [line["log_level"] for line in lines] == ["debug"]


async def test_a_review_that_takes_too_long_denies_the_pod() -> None:
    answer = await respond(review(), webhook(store=FakeBootstrapStore(asyncio.Event().wait), within=0.05))
    assert answer["status"] == {"message": "no sidecar within 0.05 s; try again", "code": 504}


async def test_a_malformed_review_is_counted_and_raised() -> None:
    counter = ReviewCounter()
    with pytest.raises(MalformedReviewError):
        await webhook(counter=counter).answer(b"{}")
    assert counter.counted == [("other", False)]


async def test_each_pod_gets_its_own_uuid() -> None:
    store = FakeBootstrapStore()
    target = Webhook(OPTIONS, namespaces=FakeNamespaces(bookstore=ENROLLED), within=1, bootstrap_store=store)
    for _ in range(3):
        await target.answer(encoded(review()))
    assert len({stored.proxy.uuid for stored in store.stored}) == 3


@pytest.mark.parametrize("namespace", ["", "Bookstore", "a.b", "a" * 64, "../default", "bookstore\n"])
async def test_a_review_of_an_impossible_namespace_is_malformed(namespace: str) -> None:
    namespaces = FakeNamespaces()
    target = Webhook(OPTIONS, namespaces=namespaces, within=1)
    with pytest.raises(MalformedReviewError, match=r"the request's namespace '.* is no DNS label"):
        await target.answer(encoded(review(namespace=namespace)))
    assert namespaces.requests == 0


async def test_a_pod_without_a_sidecar_may_be_of_any_size() -> None:
    large = pod(*[container()] * 1000, metadata={"annotations": {"openservicemesh.io/sidecar-injection": "no"}})
    assert await respond(review(large), webhook()) == {"uid": "review-1", "allowed": True}


async def test_pods_beyond_the_limit_of_their_namespace_are_denied_and_nothing_is_stored() -> None:
    store = FakeBootstrapStore()
    target = Webhook(OPTIONS, namespaces=FakeNamespaces(bookstore=ENROLLED), within=1, bootstrap_store=store)
    body = encoded(review())
    for _ in range(5000):
        await target.answer(body, client="10.0.0.1")
    status = json.loads(await target.answer(body, client="10.0.0.1"))["response"]["status"]
    assert (status["code"], len(store.stored)) == (429, 5000)
    assert "5000 pods of namespace bookstore" in status["message"]
    assert json.loads(await target.answer(body, client="10.0.0.2"))["response"]["allowed"]


async def test_a_dry_run_counts_for_no_limit() -> None:
    target = webhook(store=FakeBootstrapStore())
    for _ in range(5001):
        answer = await target.answer(encoded(review(dryRun=True)))
    assert b"JSONPatch" in answer


async def test_a_small_review_does_not_wait_for_large_ones() -> None:
    target = webhook()
    large = encoded(review(pod(*[container("x" * 40)] * 30_000)))
    waiting = [asyncio.ensure_future(target.answer(large)) for _ in range(20)]
    await asyncio.sleep(0)
    assert b"JSONPatch" in await target.answer(encoded(review()))
    assert not all(answer.done() for answer in waiting)
    assert all(b"30000 containers" in answer for answer in await asyncio.gather(*waiting))


async def test_many_canary_reviews_check_the_permission_once() -> None:
    store = FakeBootstrapStore()
    target = webhook(store=store)
    await asyncio.gather(*(target.answer(canary_review()) for _ in range(50)))
    assert store.permission_checks == 1
