"""Who may do what, as the API server sees it: its reviews of access."""

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
    """Whether the own user may do this, in one namespace or in all. Raises KubernetesError."""
    attributes: dict[str, Any] = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace}
    return allowed_by(await client.create(ACCESS_REVIEWS, {"spec": {"resourceAttributes": attributes}}))


def allowed_by(review: bytes) -> bool:
    """What an answered review says. Raises KubernetesError."""
    try:
        return msgspec.json.decode(review, type=_Review).status.allowed
    except msgspec.DecodeError as error:
        raise KubernetesError(f"no review of an access: {error}") from error
