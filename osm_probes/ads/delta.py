"""The incremental (delta) variant of xDS: requests and responses contain only changes."""

from typing import Final

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.protobuf.message import DecodeError

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import HandledRequest, RequestKind, XdsSession, is_supported
from osm_probes.ads.subscription import NAMES_LIMIT, WILDCARD, WILDCARD_TYPES, Subscription
from osm_probes.foundation.protobuf_fields import field
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, Change, Resource, ResourceSet

_VARIANT: Final = "incremental"
_REMOVED_FIELD: Final = 6


class Incremental(XdsSession):
    """A session of the method DeltaAggregatedResources."""

    _removed_last = (CLUSTER, ENDPOINTS)

    def handle_request(self, request: bytes) -> HandledRequest:
        """Handle a serialised DeltaDiscoveryRequest."""
        try:
            message = DeltaDiscoveryRequest.FromString(request)
        except DecodeError as error:
            raise MalformedRequestError("the request is not a DeltaDiscoveryRequest") from error
        type_url, node_id = message.type_url, message.node.id
        if not is_supported(type_url):
            return HandledRequest(type_url, RequestKind.UNSUPPORTED_TYPE, node_id=node_id)
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            subscription = self._subscriptions[type_url] = _new_subscription(message)
            return HandledRequest(type_url, RequestKind.SUBSCRIBE, node_id=node_id)
        detail = message.error_detail.message if message.HasField("error_detail") else None
        kind, version = RequestKind.SUBSCRIBE, ""
        if message.response_nonce:
            kind, version = self._acknowledge(subscription, nonce=message.response_nonce, detail=detail)
            kind = RequestKind.STALE if kind is RequestKind.SUBSCRIBE else kind
        # A request contains changes of the subscription, so they apply even if its nonce is stale.
        _update_subscription(subscription, message)
        return HandledRequest(type_url, kind, version, detail or "", node_id)

    def _must_send(self, subscription: Subscription, change: Change) -> bool:
        # The first response of a wildcard subscription is sent even if it is empty, because Envoy waits for it.
        first = subscription.wildcard and subscription.accepted is None
        return bool(change or subscription.unanswered) or first

    def _encode(self, subscription: Subscription, target: ResourceSet, change: Change) -> bytes:
        if _VARIANT not in change.encoded:
            change.encoded[_VARIANT] = _encode(change)
        # "Knowing When a Requested Resource Does Not Exist": this variant sends such names as removed.
        absent = sorted(subscription.unanswered.difference(target.by_name, change.removed))
        version = field(1, target.version.encode())
        removed = (field(_REMOVED_FIELD, name.encode()) for name in absent)
        return b"".join([version, change.encoded[_VARIANT], *removed])


def _new_subscription(message: DeltaDiscoveryRequest) -> Subscription:
    """The first request of a type on a stream: initial_resource_versions is what the proxy has from earlier streams."""
    subscription = Subscription(message.type_url)
    _update_subscription(subscription, message)
    versions = message.initial_resource_versions
    if len(versions) > NAMES_LIMIT:
        raise MalformedRequestError(f"more than {NAMES_LIMIT} initial versions of {message.type_url}")
    if versions:
        initial = (Resource(name, message.type_url, b"", version) for name, version in versions.items())
        accepted = ResourceSet.of(message.type_url, initial)
        subscription.accepted = accepted if subscription.wildcard else accepted.select(subscription.names)
        subscription.unanswered -= accepted.by_name.keys()
    return subscription


def _update_subscription(subscription: Subscription, message: DeltaDiscoveryRequest) -> None:
    """Subscribe and unsubscribe. "How the client specifies what resources to return", "Unsubscribing"."""
    added, removed = set(message.resource_names_subscribe), set(message.resource_names_unsubscribe)
    allows_wildcard = subscription.type_url in WILDCARD_TYPES
    wildcard = subscription.wildcard or (allows_wildcard and not added and not subscription.named_once)
    subscription.named_once = subscription.named_once or bool(added or removed)
    if allows_wildcard:
        wildcard = (wildcard and WILDCARD not in removed) or WILDCARD in added
    added.discard(WILDCARD)
    unsubscribed = removed & subscription.names
    subscription.subscribe((subscription.names - removed) | added, wildcard=wildcard)
    subscription.unanswered -= removed
    # A name that is subscribed again must be sent again. Under a wildcard, so must an unsubscribed name: the response
    # tells the proxy whether it is still a part of the wildcard.
    resend = added | unsubscribed if wildcard else added
    subscription.forget(resend)
    subscription.unanswered |= resend


def _encode(change: Change) -> bytes:
    """A DeltaDiscoveryResponse without version, type, nonce and the names that do not exist."""
    any_type = field(1, change.type_url.encode())
    parts = [_encode_resource(resource, any_type) for resource in change.changed]
    parts += [field(_REMOVED_FIELD, name.encode()) for name in change.removed]
    return b"".join(parts)


def _encode_resource(resource: Resource, any_type: bytes) -> bytes:
    value = field(2, any_type + field(2, resource.body))
    return field(2, field(1, resource.version.encode()) + value + field(3, resource.name.encode()))
