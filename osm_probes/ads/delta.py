"""The incremental form of a conversation: requests and responses say what changes."""

from typing import Final

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.protobuf.message import DecodeError

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import HandledRequest, Verdict, XdsSession, is_served
from osm_probes.ads.subscription import HAVE_WILDCARD, NAMES_LIMIT, WILDCARD, Subscription
from osm_probes.ads.wire import field
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, Change, Resource, ResourceSet

_FORM: Final = "incremental"
_REMOVED_FIELD: Final = 6


class Incremental(XdsSession):
    """DeltaAggregatedResources."""

    _removed_last = (CLUSTER, ENDPOINTS)

    def hear(self, request: bytes) -> HandledRequest:
        """Take a serialised DeltaDiscoveryRequest."""
        try:
            message = DeltaDiscoveryRequest.FromString(request)
        except DecodeError as error:
            raise MalformedRequestError("the request is no DeltaDiscoveryRequest") from error
        type_url, node = message.type_url, message.node.id
        if not is_served(type_url):
            return HandledRequest(type_url, Verdict.NOT_SERVED, node=node)
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            subscription = self._subscriptions[type_url] = _begin(message)
            return HandledRequest(type_url, Verdict.ASKED, node=node)
        detail = message.error_detail.message if message.HasField("error_detail") else None
        verdict, version = Verdict.ASKED, ""
        if message.response_nonce:
            verdict, version = self._answered(subscription, nonce=message.response_nonce, detail=detail)
            verdict = Verdict.STALE if verdict is Verdict.ASKED else verdict
        # Subscriptions change by what is said here, so they count whatever the nonce.
        _change(subscription, message)
        return HandledRequest(type_url, verdict, version, detail or "", node)

    def _due(self, subscription: Subscription, change: Change) -> bool:
        # A first answer even if it is empty: Envoy waits for it.
        first = subscription.wildcard and subscription.accepted is None
        return bool(change or subscription.asked) or first

    def _body(self, subscription: Subscription, target: ResourceSet, change: Change) -> bytes:
        if _FORM not in change.encoded:
            change.encoded[_FORM] = _encode(target.type_url, change)
        # "Knowing When a Requested Resource Does Not Exist": here it is said.
        absent = sorted(subscription.asked.difference(target.by_name, change.removed))
        version = field(1, target.version.encode())
        return b"".join([version, change.encoded[_FORM], *(field(_REMOVED_FIELD, name.encode()) for name in absent)])


def _begin(message: DeltaDiscoveryRequest) -> Subscription:
    """The first request of a type on a stream; initial_resource_versions says what an earlier stream brought."""
    subscription = Subscription(message.type_url)
    _change(subscription, message)
    versions = message.initial_resource_versions
    if len(versions) > NAMES_LIMIT:
        raise MalformedRequestError(f"more than {NAMES_LIMIT} initial versions of {message.type_url}")
    if versions:
        had = (Resource(name, message.type_url, b"", version) for name, version in versions.items())
        known = ResourceSet.of(message.type_url, had)
        subscription.accepted = known if subscription.wildcard else known.select(subscription.names)
        subscription.asked -= known.by_name.keys()
    return subscription


def _change(subscription: Subscription, message: DeltaDiscoveryRequest) -> None:
    """Subscribe and unsubscribe. "How the client specifies what resources to return", "Unsubscribing"."""
    added, removed = set(message.resource_names_subscribe), set(message.resource_names_unsubscribe)
    lists_all = subscription.type_url in HAVE_WILDCARD
    wildcard = subscription.wildcard or (lists_all and not added and not subscription.by_name)
    subscription.by_name = subscription.by_name or bool(added or removed)
    if lists_all:
        wildcard = (wildcard and WILDCARD not in removed) or WILDCARD in added
    added.discard(WILDCARD)
    left = removed & subscription.names
    subscription.ask((subscription.names - removed) | added, wildcard=wildcard)
    subscription.asked -= removed
    # What is asked for again must be sent again; so must what stays part of all, for its subscriber to know whether.
    again = added | left if wildcard else added
    subscription.forget(again)
    subscription.asked |= again


def _encode(type_url: str, change: Change) -> bytes:
    """A DeltaDiscoveryResponse without version, nonce and names that do not exist."""
    any_type = field(1, type_url.encode())
    parts = [_resource(each, any_type) for each in change.changed]
    parts.append(field(4, type_url.encode()))
    parts += [field(_REMOVED_FIELD, name.encode()) for name in change.removed]
    return b"".join(parts)


def _resource(resource: Resource, any_type: bytes) -> bytes:
    value = field(2, any_type + field(2, resource.body))
    return field(2, field(1, resource.version.encode()) + value + field(3, resource.name.encode()))
