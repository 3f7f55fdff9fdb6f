"""The canary's one resource: the request that the judge sends to the ADS, and what the response must contain.

This module imports neither grpc nor protobuf, because the judge must stay a small process.
"""

from typing import Final

from osm_probes.ads.wire import field
from osm_probes.snapshot.snapshot import CLUSTER, Resource, Snapshot

NAME: Final = "osm-canary"
"""The name of a cluster that only the canary gets. No proxy ever has it."""

_CLUSTER: Final = field(1, NAME.encode())

REQUEST: Final = field(4, CLUSTER.encode())
"""A serialised DiscoveryRequest: the first one of a stream, for all clusters."""

EXPECTED: Final = field(2, field(1, CLUSTER.encode()) + field(2, _CLUSTER))
"""Bytes that a correct response, a serialised DiscoveryResponse, contains: the one resource with its type."""


def snapshot() -> Snapshot:
    """The configuration that the canary gets."""
    return Snapshot.of([Resource.of(NAME, CLUSTER, _CLUSTER)])
