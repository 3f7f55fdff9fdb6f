"""The state-of-the-world form of a conversation: each request says all that is asked for."""

from collections.abc import Iterable
from typing import Final

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest
from google.protobuf.message import DecodeError

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import HandledRequest, Verdict, XdsSession, is_served
from osm_probes.ads.subscription import HAVE_WILDCARD, WILDCARD, Subscription
from osm_probes.ads.wire import field
from osm_probes.snapshot.snapshot import CLUSTER, Change, Resource, ResourceSet

_FORM: Final = "state of the world"


class StateOfTheWorld(XdsSession):
    """StreamAggregatedResources."""

    _removed_last = (CLUSTER,)

    def hear(self, request: bytes) -> HandledRequest:
        """Take a serialised DiscoveryRequest."""
        try:
            message = DiscoveryRequest.FromString(request)
        except DecodeError as error:
            raise MalformedRequestError("the request is no DiscoveryRequest") from error
        type_url, node = message.type_url, message.node.id
        if not is_served(type_url):
            return HandledRequest(type_url, Verdict.NOT_SERVED, node=node)
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            # "ACK/NACK and resource type instance version": the first request says what an earlier stream brought.
            subscription = self._subscriptions[type_url] = Subscription(type_url, claimed=message.version_info)
        elif message.response_nonce != subscription.nonce:
            # "Resource updates": a newer response is on its way, and its answer will say all names again.
            return HandledRequest(type_url, Verdict.STALE, node=node)
        detail = message.error_detail.message if message.HasField("error_detail") else None
        verdict, version = self._answered(subscription, nonce=message.response_nonce, detail=detail)
        _ask(subscription, frozenset(message.resource_names))
        return HandledRequest(type_url, verdict, version, detail or "", node)

    def _due(self, subscription: Subscription, change: Change) -> bool:
        if subscription.type_url not in HAVE_WILDCARD:
            # "Deleting Resources", "Knowing When a Requested Resource Does Not Exist": there is no way to say it.
            return bool(change.changed)
        interested = subscription.wildcard or bool(subscription.names)
        return bool(change) or (interested and subscription.accepted is None)

    def _body(self, subscription: Subscription, target: ResourceSet, change: Change) -> bytes:
        # "Grouping Resources into Responses": clusters and listeners whole, of other types what changed.
        whole = subscription.type_url in HAVE_WILDCARD
        encoded = target.encoded if whole else change.encoded
        if _FORM not in encoded:
            encoded[_FORM] = _encode(target, target.by_name.values() if whole else change.changed)
        return encoded[_FORM]


def _ask(subscription: Subscription, names: frozenset[str]) -> None:
    # "How the client specifies what resources to return": no name is all, until a name was given once.
    if subscription.type_url not in HAVE_WILDCARD:
        subscription.ask(names, wildcard=False)
        return
    subscription.by_name = subscription.by_name or bool(names)
    subscription.ask(names - {WILDCARD}, wildcard=WILDCARD in names or not subscription.by_name)


def _encode(target: ResourceSet, resources: Iterable[Resource]) -> bytes:
    """A DiscoveryResponse without its nonce."""
    type_url = target.type_url.encode()
    any_type = field(1, type_url)
    parts = [field(1, target.version.encode())]
    # A body is missing where it is in doubt what the proxy has.
    parts += [field(2, any_type + field(2, resource.body)) for resource in resources if resource.body]
    return b"".join([*parts, field(4, type_url)])
