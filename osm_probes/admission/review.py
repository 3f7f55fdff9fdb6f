"""AdmissionReview v1: bytes -> the question, the answer -> bytes. https://kubernetes.io/docs/reference/config-api/apiserver-admission.v1/"""

from dataclasses import dataclass
from typing import Final

import msgspec

from osm_probes.admission.json_patch import Operation
from osm_probes.foundation.errors import OsmError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"


class MalformedReviewError(OsmError):
    """The body is no AdmissionReview v1; the text names the field."""


class GroupVersionKind(msgspec.Struct, frozen=True):
    """What kind of object is reviewed."""

    kind: str
    version: str
    group: str = ""


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """What the API server asks. `object` is the pod's JSON, read only if it is a pod's creation."""

    uid: str
    kind: GroupVersionKind
    operation: str
    namespace: str = ""
    sub_resource: str = ""
    dry_run: bool | None = None
    object: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def creates_pod(self) -> bool:
        """True if it asks about a new pod."""
        kind = (self.kind.group, self.kind.version, self.kind.kind)
        return kind == ("", "v1", "Pod") and self.operation == "CREATE" and not self.sub_resource


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: Request


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a pod is refused: a sentence, and an HTTP status (4xx: the pod's fault, 5xx: ours)."""

    message: str
    code: int


def decode_review(body: bytes) -> Request:
    """Read a review. Raises MalformedReviewError."""
    try:
        review = msgspec.json.decode(body, type=_Review)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedReviewError(f"no AdmissionReview: {error}") from error
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        raise MalformedReviewError(
            f"apiVersion {review.api_version!r}, kind {review.kind!r}: only {API_VERSION} {KIND} is understood"
        )
    if not review.request.uid:
        raise MalformedReviewError("no AdmissionReview: the uid is empty - at `$.request.uid`")
    return review.request


def allow(uid: str, *, patch: tuple[Operation, ...] = ()) -> bytes:
    """The answer: let it in, with this patch."""
    answer: dict[str, object] = {"uid": uid, "allowed": True}
    if patch:
        # msgspec writes bytes as base64, which is what the field wants.
        answer |= {"patchType": "JSONPatch", "patch": msgspec.json.encode(patch)}
    return _encode(answer)


def deny(uid: str, denial: Denial) -> bytes:
    """The answer: refuse it. The message is what the person who made the pod reads."""
    return _encode({"uid": uid, "allowed": False, "status": {"message": denial.message, "code": denial.code}})


def _encode(answer: dict[str, object]) -> bytes:
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": answer})
