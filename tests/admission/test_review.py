import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from osm_probes.admission.json_patch import add
from osm_probes.admission.review import Denial, MalformedReviewError, allow, decode_review, deny
from tests.admission.pods import Json, encoded, pod, review


def changed(path: str, value: object) -> Json:
    """A review with one field changed, or taken away by None."""
    whole: Json = json.loads(encoded(review()))
    *parents, last = path.split(".")
    part = whole
    for parent in parents:
        part = part[parent]
    part[last] = value
    if value is None:
        del part[last]
    return whole


def test_a_review_of_a_new_pod_is_read() -> None:
    request = decode_review(encoded(review(dryRun=True)))
    assert (request.uid, request.namespace, request.dry_run, request.creates_pod) == (
        "review-1",
        "bookstore",
        True,
        True,
    )
    assert json.loads(bytes(request.object)) == pod()


@pytest.mark.parametrize(
    "request_parts",
    [
        {"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}},
        {"kind": {"group": "", "version": "v1", "kind": "Service"}},
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"subResource": "ephemeralcontainers"},
    ],
)
def test_a_review_of_anything_else_creates_no_pod(request_parts: dict[str, Any]) -> None:
    assert not decode_review(encoded(review() | {"request": review()["request"] | request_parts})).creates_pod


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no AdmissionReview: Input data was truncated"),
        (b"{", "no AdmissionReview: Input data was truncated"),
        (b"[]", r"Expected `object`, got `array`"),
        (b"\xff", "no AdmissionReview: JSON is malformed"),
        (b'{"a":"\xff"}', "no AdmissionReview"),
        (b"[" * 100_000, "no AdmissionReview"),
        (b'{"request":{"object":' + b"[" * 100_000, "no AdmissionReview: maximum recursion depth"),
        (encoded(changed("request", None)), "missing required field `request`"),
        (encoded(changed("request.uid", None)), r"missing required field `uid` - at `\$\.request`"),
        (encoded(changed("request.uid", 7)), r"Expected `str`, got `int` - at `\$\.request\.uid`"),
        (encoded(changed("request.uid", "")), r"uid is empty - at `\$\.request\.uid`"),
        (encoded(changed("request.kind", "Pod")), r"Expected `object`, got `str` - at `\$\.request\.kind`"),
        (encoded(changed("apiVersion", "admission.k8s.io/v1beta1")), "v1beta1', kind 'AdmissionReview': only"),
        (encoded(changed("kind", "Pod")), "apiVersion 'admission.k8s.io/v1', kind 'Pod': only"),
    ],
)
def test_what_is_no_review_is_refused_with_the_field_named(body: bytes, words: str) -> None:
    with pytest.raises(MalformedReviewError, match=words):
        decode_review(body)


@given(some.binary())
def test_no_bytes_break_the_reader(body: bytes) -> None:
    with pytest.raises(MalformedReviewError):
        decode_review(body)


def test_an_answer_with_a_patch_is_what_the_api_server_reads() -> None:
    answer = json.loads(allow("review-1", patch=(add("a", value="ü"),)))
    patch = base64.b64decode(answer["response"].pop("patch"), validate=True)
    assert json.loads(patch) == [{"op": "add", "path": "/a", "value": "ü"}]
    assert answer == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "review-1", "allowed": True, "patchType": "JSONPatch"},
    }


def test_an_answer_without_a_patch_names_no_patch_type() -> None:
    assert json.loads(allow("review-1"))["response"] == {"uid": "review-1", "allowed": True}


def test_a_denial_says_why() -> None:
    assert json.loads(deny("review-1", Denial("no", 400)))["response"] == {
        "uid": "review-1",
        "allowed": False,
        "status": {"message": "no", "code": 400},
    }
