"""SelfSubjectAccessReviews: whether a user may do something, as the API server decides it."""

from typing import Any

import msgspec

from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import ACCESS_REVIEWS, Kind


class _Status(msgspec.Struct):
    allowed: bool = False


class _Review(msgspec.Struct):
    status: _Status


async def allowed(client: KubernetesClient, verb: str, kind: Kind, *, namespace: str = "") -> bool:
    """Whether the client's own user may do this in the namespace, or in all of them ("").

    Raises KubernetesError.
    """
    attributes: dict[str, Any] = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace}
    return review_allows(await client.create(ACCESS_REVIEWS, {"spec": {"resourceAttributes": attributes}}))


def review_allows(review: bytes) -> bool:
    """The decision in a review that the API server returned, as JSON. Raises KubernetesError."""
    try:
        return msgspec.json.decode(review, type=_Review).status.allowed
    except msgspec.DecodeError as error:
        raise KubernetesError(f"the access review cannot be decoded: {error}") from error
