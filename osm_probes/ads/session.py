"""One proxy's xDS conversation: requests and snapshots in, responses out; no I/O, clock or task.

The rules are those of https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol; section names stand where
they decide. What both forms of the protocol share is here.
"""

import enum
import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.subscription import Sent, Subscription
from osm_probes.ads.wire import field
from osm_probes.snapshot.snapshot import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    PUSH_ORDER,
    ROUTES,
    TYPE_PREFIX,
    Change,
    ResourceSet,
    Snapshot,
)

_NONCE_FIELD: Final = 5
# "Eventual consistency considerations": what refers to clusters waits until they are in place, and clusters stay
# until nothing refers to them.
_REFERRED: Final = (CLUSTER, ENDPOINTS)
_REFERRING: Final = (LISTENER, ROUTES)


class Verdict(enum.Enum):
    """What a request says about earlier responses."""

    ASKED = "asked"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    STALE = "stale"
    NOT_SERVED = "not served"


@dataclass(frozen=True, slots=True)
class HandledRequest:
    """The facts of one request. `version` is that of the response it answers; `node` as the proxy says, unproven."""

    type_url: str
    verdict: Verdict
    version: str = ""
    detail: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One response to be written: `body` is the serialised message."""

    type_url: str
    version: str
    body: bytes


class XdsSession(ABC):
    """One stream's conversation.

    `hear` takes each request, `answer` says what is to be written next; at most one response of a type is unanswered,
    so a slow proxy skips what it missed.
    """

    _removed_last: tuple[str, ...]

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._nonces = itertools.count(1)

    @abstractmethod
    def hear(self, request: bytes) -> HandledRequest:
        """Take a serialised request. Raises MalformedRequestError: the stream must end."""

    def answer(self, snapshot: Snapshot) -> Response | None:
        """The next response that brings the proxy nearer to `snapshot`, in wire order; None: nothing to say now."""
        for type_url in PUSH_ORDER:
            subscription = self._subscriptions.get(type_url)
            if subscription is None or subscription.sent or (type_url in _REFERRING and self._unanswered(_REFERRED)):
                continue
            wanted = self._wanted(subscription, snapshot)
            target = wanted.keeping(subscription.has) if type_url in self._removed_last else wanted
            if response := self._respond(subscription, target, wanted):
                return response
        return self._remove(snapshot)

    def _remove(self, snapshot: Snapshot) -> Response | None:
        """Stale clusters and their endpoints go last, once nothing that the proxy has refers to them."""
        if self._unanswered(_REFERRED + _REFERRING) or self._rejected(_REFERRING):
            return None
        for subscription in self._of(self._removed_last):
            wanted = self._wanted(subscription, snapshot)
            if response := self._respond(subscription, wanted, wanted):
                return response
        return None

    def _respond(self, subscription: Subscription, target: ResourceSet, wanted: ResourceSet) -> Response | None:
        change = target.since(subscription.has)
        # A rejected response is not sent again until something changed: Envoy keeps the last good version.
        if subscription.rejected == wanted.version and not subscription.asked:
            return None
        if not self._due(subscription, change):
            return None
        body = self._body(subscription, target, change)
        nonce = str(next(self._nonces))
        subscription.send(Sent(nonce, target, change, wanted.version))
        return Response(subscription.type_url, target.version, body + field(_NONCE_FIELD, nonce.encode()))

    def _wanted(self, subscription: Subscription, snapshot: Snapshot) -> ResourceSet:
        resources = snapshot.sets.get(subscription.type_url) or ResourceSet.of(subscription.type_url)
        return subscription.wanted(resources)

    @abstractmethod
    def _due(self, subscription: Subscription, change: Change) -> bool:
        """Whether the protocol lets, or makes, the server say this now."""

    @abstractmethod
    def _body(self, subscription: Subscription, target: ResourceSet, change: Change) -> bytes:
        """The response but for its nonce."""

    def _answered(self, subscription: Subscription, *, nonce: str, detail: str | None) -> tuple[Verdict, str]:
        """Settle the unanswered response with this nonce; what the request says and about which version."""
        sent = subscription.sent
        if sent is None or sent.nonce != nonce:
            return Verdict.ASKED, ""
        # "NACK": the presence of error_detail tells, not the version.
        if detail is None:
            subscription.accept(sent)
            return Verdict.ACCEPTED, sent.target.version
        subscription.reject(sent)
        return Verdict.REJECTED, sent.target.version

    def _of(self, types: tuple[str, ...]) -> list[Subscription]:
        return [self._subscriptions[type_url] for type_url in types if type_url in self._subscriptions]

    def _unanswered(self, types: tuple[str, ...]) -> bool:
        return any(subscription.sent for subscription in self._of(types))

    def _rejected(self, types: tuple[str, ...]) -> bool:
        return any(subscription.rejected for subscription in self._of(types))


def is_served(type_url: str) -> bool:
    """Whether this type is served; others that exist may be asked for and are never answered.

    Raises MalformedRequestError where it is no type at all.
    """
    name = type_url.removeprefix(TYPE_PREFIX)
    if name == type_url or not name.replace(".", "").replace("_", "").isalnum():
        raise MalformedRequestError(f"type_url {type_url[:100]!r} names no type of resources")
    return type_url in PUSH_ORDER
