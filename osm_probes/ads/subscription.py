"""The state of one resource type on one stream: its subscription, what the proxy accepted, the pending response."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER, Change, Resource, ResourceSet

WILDCARD: Final = "*"
WILDCARD_TYPES: Final = frozenset({CLUSTER, LISTENER})
"""Types that allow a wildcard subscription. Their state-of-the-world responses contain all subscribed resources."""

NAMES_LIMIT: Final = 10_000
_UNKNOWN_VERSION: Final = "unknown"


@dataclass(frozen=True, slots=True)
class PendingResponse:
    """A response that has no ACK or NACK yet. `target` is what the proxy has after an ACK.

    desired_version: the version of the subscribed resources of the snapshot. It differs from that of `target` as long
    as the proxy has to keep resources that the snapshot no longer has.
    """

    nonce: str
    target: ResourceSet
    change: Change
    desired_version: str


@dataclass(slots=True)
class Subscription:
    """The state of one type. `accepted`: what the proxy has accepted; None before the first response.

    named_once: at least one request had a name. From then on a request without names means none and not all.
    initial_version: the version that an earlier stream of the proxy accepted, from its first request.
    rejected_version: the desired version of the last response, if the proxy rejected it.
    unanswered: names that must be in the next response, even if only as resources that do not exist.
    """

    type_url: str
    names: frozenset[str] = frozenset()
    wildcard: bool = False
    named_once: bool = False
    accepted: ResourceSet | None = None
    initial_version: str = ""
    pending: PendingResponse | None = None
    last_nonce: str = ""
    rejected_version: str = ""
    unanswered: set[str] = field(default_factory=set)

    @property
    def accepted_or_empty(self) -> ResourceSet:
        """What the proxy has accepted; empty before the first response."""
        return self.accepted or ResourceSet.of(self.type_url)

    def select(self, resources: ResourceSet) -> ResourceSet:
        """The resources that the proxy subscribes to."""
        selected = resources if self.wildcard else resources.select(self.names)
        if self.initial_version == selected.version and self.accepted is None:
            # A version is a hash of names and contents, so an equal version means that the proxy has exactly this.
            self.accepted = selected
        self.initial_version = ""
        return selected

    def subscribe(self, names: Iterable[str], *, wildcard: bool) -> None:
        """Subscribe to exactly these names, and to all other resources too if `wildcard`."""
        new = frozenset(names)
        if len(new) > NAMES_LIMIT:
            raise MalformedRequestError(f"more than {NAMES_LIMIT} names of {self.type_url}")
        if wildcard and not self.wildcard:
            self.accepted, self.pending = None, None
        if new != self.names or wildcard != self.wildcard:
            added, kept = new - self.names, None if wildcard else new
            self.names, self.wildcard = new, wildcard
            self.forget(added, keep=kept)

    def forget(self, names: Iterable[str], *, keep: frozenset[str] | None = None) -> None:
        """Assume that the proxy no longer has `names`, nor any name outside `keep`: it gets them again if subscribed.

        "Unsubscribing From Resources", and resource_names_subscribe in discovery.proto.
        """
        forgotten = frozenset(names)
        if self.accepted is not None:
            self.accepted = _without(self.accepted, forgotten, keep)
        if self.pending is not None:
            self.pending = replace(self.pending, target=_without(self.pending.target, forgotten, keep))

    def record_response(self, response: PendingResponse) -> None:
        """A response is sent."""
        self.pending, self.last_nonce = response, response.nonce
        self.unanswered.clear()

    def record_ack(self, response: PendingResponse) -> None:
        """The proxy accepted the pending response."""
        self.accepted, self.pending, self.rejected_version = response.target, None, ""

    def record_nack(self, response: PendingResponse) -> None:
        """The proxy rejected the pending response. Envoy may have applied a part of it, so that part is unknown."""
        names = (*(resource.name for resource in response.change.changed), *response.change.removed)
        unknown = (Resource(name, self.type_url, b"", _UNKNOWN_VERSION) for name in names)
        kept = self.accepted_or_empty.without(names).by_name.values()
        self.accepted = ResourceSet.of(self.type_url, [*kept, *unknown])
        self.pending, self.rejected_version = None, response.desired_version


def _without(resources: ResourceSet, names: frozenset[str], keep: frozenset[str] | None) -> ResourceSet:
    left = resources.without(names)
    return left if keep is None else left.select(keep)
