"""AdmissionReview v1: bytes -> request, and response -> bytes.

https://kubernetes.io/docs/reference/config-api/apiserver-admission.v1/
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from osm_probes.admission.json_patch import Operation
from osm_probes.foundation.errors import OsmError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

_UID_LIMIT: Final = 128  # Kubernetes' own uids have 36 characters
_MESSAGE_LIMIT: Final = 1024


class MalformedReviewError(OsmError):
    """The body is not a valid AdmissionReview v1; the text names the field."""


class GroupVersionKind(msgspec.Struct, frozen=True):
    """The kind of the reviewed object."""

    kind: str
    version: str
    group: str = ""


class AdmissionRequest(msgspec.Struct, frozen=True, rename="camel"):
    """The request of the API server. object: JSON that is decoded only if the request creates a pod."""

    uid: str
    kind: GroupVersionKind
    operation: str
    namespace: str = ""
    sub_resource: str = ""
    dry_run: bool | None = None
    object: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def creates_pod(self) -> bool:
        """True if the request is about a new pod."""
        kind = (self.kind.group, self.kind.version, self.kind.kind)
        return kind == ("", "v1", "Pod") and self.operation == "CREATE" and not self.sub_resource


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: AdmissionRequest


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a pod is denied: a text, and an HTTP status (4xx: the pod is invalid, 5xx: the webhook failed)."""

    message: str
    code: int


def decode_review(body: bytes) -> AdmissionRequest:
    """Decode a review. Raises MalformedReviewError."""
    try:
        body.decode()  # msgspec does not check the parts that it skips
        review = msgspec.json.decode(body, type=_Review)
    except UnicodeDecodeError as error:
        raise MalformedReviewError(f"not an AdmissionReview: byte {error.start} is not valid UTF-8") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedReviewError(f"not an AdmissionReview: {error}") from error
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        raise MalformedReviewError(
            f"apiVersion {review.api_version!r}, kind {review.kind!r}: only {API_VERSION} {KIND} is supported"
        )
    if not review.request.uid:
        raise MalformedReviewError("not an AdmissionReview: the uid is empty - at `$.request.uid`")
    if len(review.request.uid) > _UID_LIMIT or not review.request.uid.isprintable():
        text = f"the uid is not printable, or longer than {_UID_LIMIT} characters"
        raise MalformedReviewError(f"not an AdmissionReview: {text} - at `$.request.uid`")
    return review.request


def allow(uid: str, *, patch: tuple[Operation, ...] = ()) -> bytes:
    """The response that admits the pod, with this patch."""
    response: dict[str, object] = {"uid": uid, "allowed": True}
    if patch:
        # msgspec encodes bytes as base64, as the field requires.
        response |= {"patchType": "JSONPatch", "patch": msgspec.json.encode(patch)}
    return _encode(response)


def deny(uid: str, denial: Denial) -> bytes:
    """The response that denies the pod. Its author reads the message."""
    return _encode(
        {"uid": uid, "allowed": False, "status": {"message": denial.message[:_MESSAGE_LIMIT], "code": denial.code}}
    )


def _encode(response: dict[str, object]) -> bytes:
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})
