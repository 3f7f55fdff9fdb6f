"""The canary's one resource: what the judge asks the ADS for, and what must be in the answer.

Neither grpc nor protobuf is imported: the judge is a small process.
"""

from typing import Final

from osm_probes.ads.wire import field
from osm_probes.snapshot.snapshot import CLUSTER, Resource, Snapshot

NAME: Final = "osm-canary"
"""The name of the cluster that only the canary gets. No proxy ever has it."""

_CLUSTER: Final = field(1, NAME.encode())

REQUEST: Final = field(4, CLUSTER.encode())
"""A serialised DiscoveryRequest: the first of a stream, for all clusters."""

EXPECTED: Final = field(2, field(1, CLUSTER.encode()) + field(2, _CLUSTER))
"""Bytes that a right answer, a serialised DiscoveryResponse, contains: the one resource with its type."""


def snapshot() -> Snapshot:
    """What the canary is told."""
    return Snapshot.of([Resource.of(NAME, CLUSTER, _CLUSTER)])
