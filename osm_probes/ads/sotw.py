"""The state-of-the-world variant of xDS: every request lists the whole subscription."""

from collections.abc import Iterable
from typing import Final

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest
from google.protobuf.message import DecodeError

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import HandledRequest, RequestKind, XdsSession, is_supported
from osm_probes.ads.subscription import WILDCARD, WILDCARD_TYPES, Subscription
from osm_probes.foundation.protobuf_fields import field
from osm_probes.snapshot.snapshot import CLUSTER, Change, Resource, ResourceSet

_VARIANT: Final = "state of the world"


class StateOfTheWorld(XdsSession):
    """A session of the method StreamAggregatedResources."""

    _removed_last = (CLUSTER,)

    def handle_request(self, request: bytes) -> HandledRequest:
        """Handle a serialised DiscoveryRequest."""
        try:
            message = DiscoveryRequest.FromString(request)
        except DecodeError as error:
            raise MalformedRequestError("the request is not a DiscoveryRequest") from error
        type_url, node_id = message.type_url, message.node.id
        if not is_supported(type_url):
            return HandledRequest(type_url, RequestKind.UNSUPPORTED_TYPE, node_id=node_id)
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            # "ACK/NACK and resource type instance version": the first request has the version of an earlier stream.
            subscription = Subscription(type_url, initial_version=message.version_info)
            self._subscriptions[type_url] = subscription
        elif message.response_nonce != subscription.last_nonce:
            # "Resource updates": the proxy has not seen the last response yet; its ACK will list all names again.
            return HandledRequest(type_url, RequestKind.STALE, node_id=node_id)
        detail = message.error_detail.message if message.HasField("error_detail") else None
        kind, version = self._acknowledge(subscription, nonce=message.response_nonce, detail=detail)
        _subscribe(subscription, frozenset(message.resource_names))
        return HandledRequest(type_url, kind, version, detail or "", node_id)

    def _must_send(self, subscription: Subscription, change: Change) -> bool:
        if subscription.type_url not in WILDCARD_TYPES:
            # "Deleting Resources", "Knowing When a Requested Resource Does Not Exist": removals cannot be expressed.
            return bool(change.changed)
        subscribed = subscription.wildcard or bool(subscription.names)
        return bool(change) or (subscribed and subscription.accepted is None)

    def _encode(self, subscription: Subscription, target: ResourceSet, change: Change) -> bytes:
        # "Grouping Resources into Responses": all clusters and listeners, but only changed resources of other types.
        complete = subscription.type_url in WILDCARD_TYPES
        encoded = target.encoded if complete else change.encoded
        if _VARIANT not in encoded:
            encoded[_VARIANT] = _encode(target, target.by_name.values() if complete else change.changed)
        return encoded[_VARIANT]


def _subscribe(subscription: Subscription, names: frozenset[str]) -> None:
    # "How the client specifies what resources to return": no names mean all, until a request has had a name.
    if subscription.type_url not in WILDCARD_TYPES:
        subscription.subscribe(names, wildcard=False)
        return
    subscription.named_once = subscription.named_once or bool(names)
    subscription.subscribe(names - {WILDCARD}, wildcard=WILDCARD in names or not subscription.named_once)


def _encode(target: ResourceSet, resources: Iterable[Resource]) -> bytes:
    """A DiscoveryResponse without its type and its nonce."""
    any_type = field(1, target.type_url.encode())
    parts = [field(1, target.version.encode())]
    # A resource without a body marks that it is unknown what the proxy has: see Subscription.record_nack.
    parts += [field(2, any_type + field(2, resource.body)) for resource in resources if resource.body]
    return b"".join(parts)
