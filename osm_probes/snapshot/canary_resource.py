"""The configuration that the canary gets: what it requests from the ADS, and what the responses must contain.

It is a part of a real identity's newest snapshot, and two marked resources that no proxy ever has. The canary asks for
clusters and listeners, as each proxy does first.

This module imports neither grpc nor protobuf, because the judge must stay a small process.
"""

from collections.abc import Iterator
from typing import Final

from osm_probes.foundation.protobuf_fields import field
from osm_probes.health.judge_state import CanaryStep
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER, Resource, Snapshot

NAME: Final = "osm-canary"
"""The name of the cluster and of the listener that only the canary gets."""

TYPES: Final = (CLUSTER, LISTENER)
"""The types that the canary may subscribe to."""

_MARKER: Final = field(1, NAME.encode())
# Numbers of fields: https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/discovery/v3/discovery.proto
_REQUEST_TYPE: Final = 4
_REQUEST_NONCE: Final = 5
_RESPONSE_RESOURCE: Final = 2
_FIRST_NONCE: Final = b"1"
_MOST_BYTES: Final = 32 * 1024


def _expected(type_url: str) -> bytes:
    """Bytes that a correct response of this type contains: the marked resource with its type."""
    return field(_RESPONSE_RESOURCE, field(1, type_url.encode()) + field(2, _MARKER))


def _request(type_url: str, *, nonce: bytes = b"") -> bytes:
    """A DiscoveryRequest for all resources of a type; with a nonce it is the ACK of that response."""
    return field(_REQUEST_TYPE, type_url.encode()) + (field(_REQUEST_NONCE, nonce) if nonce else b"")


STEPS: Final = (
    CanaryStep((_request(CLUSTER),), expected=_expected(CLUSTER)),
    # The ADS sends listeners only after the clusters are acknowledged.
    CanaryStep((_request(CLUSTER, nonce=_FIRST_NONCE), _request(LISTENER)), expected=_expected(LISTENER)),
)
"""What the canary sends and expects."""


def snapshot(real: Snapshot | None) -> Snapshot:
    """The canary's configuration, by the newest snapshot of a real identity; None if the mesh has no identity.

    Of each type it has at most 32 KiB, so that a probe costs the same in a mesh of any size.
    """
    resources = [Resource.of(NAME, type_url, _MARKER) for type_url in TYPES]
    if real is not None:
        resources += [resource for type_url in TYPES for resource in _part(real, type_url)]
    return Snapshot.of(resources)


def _part(real: Snapshot, type_url: str) -> Iterator[Resource]:
    left = _MOST_BYTES
    resources = real.sets[type_url].by_name.values() if type_url in real.sets else ()
    for resource in resources:
        left -= len(resource.body)
        if left < 0:
            return
        yield resource
