"""One type of resources on one stream: what is asked for, what the proxy has, what it has not answered yet."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER, Change, Resource, ResourceSet

WILDCARD: Final = "*"
HAVE_WILDCARD: Final = frozenset({CLUSTER, LISTENER})
"""Types with a subscription to all, and whose state-of-the-world answers are always whole."""

NAMES_LIMIT: Final = 10_000
_DOUBTED: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Sent:
    """A response that the proxy has not answered: `target` is what it has if it accepts, `wanted` the version asked."""

    nonce: str
    target: ResourceSet
    change: Change
    wanted: str


@dataclass(slots=True)
class Subscription:
    """The state of one type. `accepted`: what the proxy has; None as long as it was never told anything.

    by_name: a name was given once, so that none is none. claimed: the version that an earlier stream brought.
    asked: names to be answered even by saying that they do not exist.
    """

    type_url: str
    names: frozenset[str] = frozenset()
    wildcard: bool = False
    by_name: bool = False
    accepted: ResourceSet | None = None
    claimed: str = ""
    sent: Sent | None = None
    nonce: str = ""
    rejected: str = ""
    asked: set[str] = field(default_factory=set)

    @property
    def has(self) -> ResourceSet:
        """What the proxy has, empty before it was told anything."""
        return self.accepted or ResourceSet.of(self.type_url)

    def wanted(self, resources: ResourceSet) -> ResourceSet:
        """Of all resources those that are asked for."""
        wanted = resources if self.wildcard else resources.select(self.names)
        if self.claimed == wanted.version and self.accepted is None:
            # A version is a hash of names and contents: equal means that exactly this is there already.
            self.accepted = wanted
        self.claimed = ""
        return wanted

    def ask(self, names: Iterable[str], *, wildcard: bool) -> None:
        """Ask for exactly these names, and for all others too if `wildcard`."""
        new = frozenset(names)
        if len(new) > NAMES_LIMIT:
            raise MalformedRequestError(f"more than {NAMES_LIMIT} names of {self.type_url}")
        if wildcard and not self.wildcard:
            self.accepted, self.sent = None, None
        if new != self.names or wildcard != self.wildcard:
            added, kept = new - self.names, None if wildcard else new
            self.names, self.wildcard = new, wildcard
            self.forget(added, keep=kept)

    def forget(self, names: Iterable[str], *, keep: frozenset[str] | None = None) -> None:
        """The proxy may not have these any more, nor any but `keep`: they are sent again once asked for.

        "Unsubscribing From Resources", and resource_names_subscribe in discovery.proto.
        """
        gone = frozenset(names)
        if self.accepted is not None:
            self.accepted = _left(self.accepted, gone, keep)
        if self.sent is not None:
            self.sent = replace(self.sent, target=_left(self.sent.target, gone, keep))

    def send(self, sent: Sent) -> None:
        """A response goes out."""
        self.sent, self.nonce = sent, sent.nonce
        self.asked.clear()

    def accept(self, sent: Sent) -> None:
        """The proxy took it (ACK)."""
        self.accepted, self.sent, self.rejected = sent.target, None, ""

    def reject(self, sent: Sent) -> None:
        """The proxy refused it (NACK); Envoy may still have taken the good part, so what it has of it is unknown."""
        names = (*(resource.name for resource in sent.change.changed), *sent.change.removed)
        doubted = (Resource(name, self.type_url, b"", _DOUBTED) for name in names)
        self.accepted = ResourceSet.of(self.type_url, [*self.has.without(names).by_name.values(), *doubted])
        self.sent, self.rejected = None, sent.wanted


def _left(resources: ResourceSet, gone: frozenset[str], keep: frozenset[str] | None) -> ResourceSet:
    left = resources.without(gone)
    return left if keep is None else left.select(keep)
