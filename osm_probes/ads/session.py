"""One proxy's xDS session: requests and snapshots in, responses out. No I/O, no clock, no tasks.

The rules are from https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol. A quoted section title names the
source of a rule. This module has what both variants of the protocol share.
"""

import enum
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from osm_probes.ads.errors import MalformedRequestError, WrongTypeError
from osm_probes.ads.subscription import PendingResponse, Subscription
from osm_probes.foundation.protobuf_fields import field
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

_TYPE_FIELD: Final = 4
_NONCE_FIELD: Final = 5
# "Eventual consistency considerations": listeners and routes refer to clusters. They wait until the proxy has the new
# clusters, and old clusters stay until nothing refers to them.
_REFERENCED: Final = (CLUSTER, ENDPOINTS)
_REFERRING: Final = (LISTENER, ROUTES)


class RequestKind(enum.Enum):
    """What a request does."""

    SUBSCRIBE = "subscribe"
    """It only sets the subscription: no response is pending, or the request does not refer to one."""
    ACK = "ack"
    NACK = "nack"
    STALE = "stale"
    """It refers to an older response than the last one."""
    UNSUPPORTED_TYPE = "unsupported type"
    """It is for a type that this ADS does not serve. It never gets a response."""


@dataclass(frozen=True, slots=True)
class HandledRequest:
    """The facts of one request. `version`: of the response that an ACK or NACK refers to. `node_id`: not verified."""

    type_url: str
    kind: RequestKind
    version: str = ""
    detail: str = ""
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One response to send. `body` is the serialised message."""

    type_url: str
    version: str
    nonce: str
    body: bytes


class XdsSession(ABC):
    """The protocol state of one stream.

    `handle_request` takes each request, `next_response` returns what to send next. At most one response of a type is
    pending (without ACK or NACK), so a slow proxy skips intermediate snapshots.
    """

    _removed_last: tuple[str, ...]
    """Types whose removed resources are removed from the proxy only after everything else was sent."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._nonces = itertools.count(1)

    @property
    def pending(self) -> Mapping[str, PendingResponse]:
        """The responses without ACK or NACK, by type."""
        return {url: subscription.pending for url, subscription in self._subscriptions.items() if subscription.pending}

    @property
    def settled(self) -> tuple[str, ...]:
        """The types of which the proxy has what it should have, after `next_response` has returned None.

        None of them while a response is pending, because others may wait for its answer.
        """
        if self.pending:
            return ()
        return tuple(url for url, subscription in self._subscriptions.items() if not subscription.rejected_version)

    @abstractmethod
    def handle_request(self, request: bytes) -> HandledRequest:
        """Handle a serialised request. Raises MalformedRequestError: the stream must end."""

    def next_response(self, snapshot: Snapshot) -> Response | None:
        """The next response on the way to `snapshot`, in push order. None if there is nothing to send now."""
        for type_url in PUSH_ORDER:
            subscription = self._subscriptions.get(type_url)
            if subscription is None or subscription.pending:
                continue
            if type_url in _REFERRING and self._any_pending(_REFERENCED):
                continue
            desired = self._desired(subscription, snapshot)
            removes_last = type_url in self._removed_last
            target = desired.keeping_removed(subscription.accepted_or_empty) if removes_last else desired
            if response := self._response(subscription, target, desired):
                return response
        return self._next_removal(snapshot)

    def _next_removal(self, snapshot: Snapshot) -> Response | None:
        """Remove old clusters and their endpoints after the proxy accepted listeners and routes without them."""
        if self._any_pending(_REFERENCED + _REFERRING) or self._any_rejected(_REFERRING):
            return None
        for subscription in self._existing(self._removed_last):
            desired = self._desired(subscription, snapshot)
            if response := self._response(subscription, desired, desired):
                return response
        return None

    def _response(self, subscription: Subscription, target: ResourceSet, desired: ResourceSet) -> Response | None:
        change = target.changes_since(subscription.accepted_or_empty)
        # A rejected version is not sent again until something changes: Envoy keeps the last good version.
        if subscription.rejected_version == desired.version and not subscription.unanswered:
            return None
        if not self._must_send(subscription, change):
            # What the proxy rejected has left the snapshot or the subscription.
            subscription.rejected_version = ""
            return None
        body = self._typed_body(subscription, target, change)
        nonce = str(next(self._nonces))
        subscription.record_response(PendingResponse(nonce, target, change, desired.version))
        return Response(subscription.type_url, target.version, nonce, body + field(_NONCE_FIELD, nonce.encode()))

    def _typed_body(self, subscription: Subscription, target: ResourceSet, change: Change) -> bytes:
        """The serialised response without its nonce. Its type is that of the subscription, whatever streams share."""
        type_url = subscription.type_url
        if not type_url == target.type_url == change.type_url:
            raise WrongTypeError(f"a response to {type_url} has a change of {change.type_url} to {target.type_url}")
        return self._encode(subscription, target, change) + field(_TYPE_FIELD, type_url.encode())

    def _desired(self, subscription: Subscription, snapshot: Snapshot) -> ResourceSet:
        resources = snapshot.sets.get(subscription.type_url) or ResourceSet.of(subscription.type_url)
        return subscription.select(resources)

    @abstractmethod
    def _must_send(self, subscription: Subscription, change: Change) -> bool:
        """Whether the protocol requires a response for this change now."""

    @abstractmethod
    def _encode(self, subscription: Subscription, target: ResourceSet, change: Change) -> bytes:
        """The serialised response without its type and its nonce."""

    def _acknowledge(self, subscription: Subscription, *, nonce: str, detail: str | None) -> tuple[RequestKind, str]:
        """Apply the ACK or NACK (if `detail` is not None) of the pending response. Returns the response's version."""
        pending = subscription.pending
        if pending is None or pending.nonce != nonce:
            return RequestKind.SUBSCRIBE, ""
        # "NACK": the presence of error_detail decides, not the version.
        if detail is None:
            subscription.record_ack(pending)
            return RequestKind.ACK, pending.target.version
        subscription.record_nack(pending)
        return RequestKind.NACK, pending.target.version

    def _existing(self, types: tuple[str, ...]) -> list[Subscription]:
        return [self._subscriptions[type_url] for type_url in types if type_url in self._subscriptions]

    def _any_pending(self, types: tuple[str, ...]) -> bool:
        return any(subscription.pending for subscription in self._existing(types))

    def _any_rejected(self, types: tuple[str, ...]) -> bool:
        return any(subscription.rejected_version for subscription in self._existing(types))


def is_supported(type_url: str) -> bool:
    """Whether the ADS serves this type. Proxies may subscribe to other types, but get no response.

    Raises MalformedRequestError if `type_url` is not a type URL at all.
    """
    name = type_url.removeprefix(TYPE_PREFIX)
    if name == type_url or not name.replace(".", "").replace("_", "").isalnum():
        raise MalformedRequestError(f"type_url {type_url[:100]!r} is not a resource type")
    return type_url in PUSH_ORDER
