import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.admission.json_patch import add
from osm_probes.admission.review import Denial, MalformedReviewError, allow, decode_review, deny
from tests.admission.pods import Json, encoded, pod, review


def changed(path: str, value: object) -> Json:
    """A review with one field changed, or removed if the value is None."""
    whole: Json = json.loads(encoded(review()))
    *parents, last = path.split(".")
    part = whole
    for parent in parents:
        part = part[parent]
    part[last] = value
    if value is None:
        del part[last]
    return whole


def test_a_review_of_a_new_pod_is_decoded() -> None:
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
    ("body", "reason"),
    [
        (b"", "not an AdmissionReview: Input data was truncated"),
        (b"{", "not an AdmissionReview: Input data was truncated"),
        (b"[]", r"Expected `object`, got `array`"),
        (b"\xff", "not an AdmissionReview: byte 0 is not valid UTF-8"),
        (b'{"a":"\xff"}', "not an AdmissionReview: byte 6 is not valid UTF-8"),
        (encoded(review()).replace(b"app:1", b"app:\xff"), "not an AdmissionReview: byte .* is not valid UTF-8"),
        (encoded(review(extra="x")).replace(b'"x"', b'"\xc3"'), "not an AdmissionReview: byte .* is not valid UTF-8"),
        (b"[" * 100_000, "not an AdmissionReview"),
        (b'{"request":{"object":' + b"[" * 100_000, "not an AdmissionReview: maximum recursion depth"),
        (encoded(changed("request", None)), "missing required field `request`"),
        (encoded(changed("request.uid", None)), r"missing required field `uid` - at `\$\.request`"),
        (encoded(changed("request.uid", 7)), r"Expected `str`, got `int` - at `\$\.request\.uid`"),
        (encoded(changed("request.uid", "")), r"uid is empty - at `\$\.request\.uid`"),
        (encoded(changed("request.uid", "x" * 129)), r"longer than 128 characters - at `\$\.request\.uid`"),
        (encoded(changed("request.uid", "a\nb")), r"uid is not printable.* - at `\$\.request\.uid`"),
        (encoded(changed("request.kind", "Pod")), r"Expected `object`, got `str` - at `\$\.request\.kind`"),
        (encoded(changed("apiVersion", "admission.k8s.io/v1beta1")), "v1beta1', kind 'AdmissionReview': only"),
        (encoded(changed("kind", "Pod")), "apiVersion 'admission.k8s.io/v1', kind 'Pod': only"),
    ],
)
def test_an_invalid_review_is_an_error_that_names_the_field(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedReviewError, match=reason):
        decode_review(body)


@given(st.binary())
def test_arbitrary_bytes_raise_only_malformed_review_error(body: bytes) -> None:
    with pytest.raises(MalformedReviewError):
        decode_review(body)


def test_a_response_with_a_patch_has_the_form_that_the_api_server_expects() -> None:
    response = json.loads(allow("review-1", patch=(add("a", value="ü"),)))
    patch = base64.b64decode(response["response"].pop("patch"), validate=True)
    assert json.loads(patch) == [{"op": "add", "path": "/a", "value": "ü"}]
    assert response == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "review-1", "allowed": True, "patchType": "JSONPatch"},
    }


def test_a_response_without_a_patch_has_no_patch_type() -> None:
    assert json.loads(allow("review-1"))["response"] == {"uid": "review-1", "allowed": True}


def test_a_denial_has_at_most_1024_characters() -> None:
    assert len(json.loads(deny("review-1", Denial("n" * 5000, 400)))["response"]["status"]["message"]) == 1024


def test_a_denial_has_a_message_and_a_code() -> None:
    assert json.loads(deny("review-1", Denial("no", 400)))["response"] == {
        "uid": "review-1",
        "allowed": False,
        "status": {"message": "no", "code": 400},
    }
