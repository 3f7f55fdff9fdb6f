import pytest

from osm_probes.ads.delta import Incremental
from osm_probes.ads.errors import MalformedRequestError, WrongTypeError
from osm_probes.ads.session import RequestKind
from osm_probes.ads.subscription import Subscription
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Change, Snapshot
from tests.ads.messages import (
    DeltaResponse,
    cluster,
    delta_request,
    delta_response,
    endpoints,
    listener,
    nothing_to_send,
    routes,
    snapshot,
)

INITIAL = snapshot(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"))


def subscribe(session: Incremental, now: Snapshot, type_url: str, *names: str) -> DeltaResponse:
    """Send the first request of a type, then take and acknowledge the response."""
    session.handle_request(delta_request(type_url, *names))
    return take_and_ack(session, now)


def take_and_ack(session: Incremental, now: Snapshot) -> DeltaResponse:
    response = delta_response(session.next_response(now))
    handled = session.handle_request(delta_request(response.type_url, nonce=response.nonce))
    assert (handled.kind, handled.version) == (RequestKind.ACK, response.version)
    return response


def synced(now: Snapshot) -> Incremental:
    """A session whose proxy has everything, in the order in which Envoy subscribes."""
    session = Incremental()
    subscribe(session, now, CLUSTER)
    subscribe(session, now, ENDPOINTS, "a", "b")
    subscribe(session, now, LISTENER)
    subscribe(session, now, ROUTES, "out")
    assert nothing_to_send(session, now)
    return session


@pytest.mark.parametrize("names", [(), ("*",)])
def test_a_subscription_without_names_or_with_a_wildcard_gets_all_clusters(names: tuple[str, ...]) -> None:
    assert subscribe(Incremental(), INITIAL, CLUSTER, *names).names == ["a", "b"]


def test_a_wildcard_subscription_gets_a_response_even_if_there_are_no_clusters() -> None:
    response = subscribe(Incremental(), snapshot(), CLUSTER)
    assert (response.names, response.removed) == ([], [])


def test_a_subscription_without_names_gets_no_endpoints() -> None:
    session = Incremental()
    session.handle_request(delta_request(ENDPOINTS))
    assert nothing_to_send(session, INITIAL)


def test_only_the_changed_cluster_is_sent_followed_by_its_endpoints() -> None:
    session = synced(INITIAL)
    now = snapshot(cluster("a", 2), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"))
    first, second = delta_response(session.next_response(now)), delta_response(session.next_response(now))
    assert (first.type_url, first.names) == (CLUSTER, ["a"])
    assert (second.type_url, second.names) == (ENDPOINTS, ["a"])


def test_resources_have_the_versions_of_the_snapshot() -> None:
    assert subscribe(Incremental(), INITIAL, CLUSTER).versions == {
        name: resource.version for name, resource in INITIAL.sets[CLUSTER].by_name.items()
    }


def test_a_name_that_does_not_exist_is_reported_as_removed_once_and_sent_when_it_exists() -> None:
    session = Incremental()
    response = subscribe(session, INITIAL, ENDPOINTS, "a", "nowhere")
    assert (response.names, response.removed) == (["a"], ["nowhere"])
    assert nothing_to_send(session, INITIAL)
    now = snapshot(cluster("a"), endpoints("a"), endpoints("nowhere"))
    assert take_and_ack(session, now).names == ["nowhere"]


def test_a_listener_that_left_the_snapshot_is_removed() -> None:
    session = synced(INITIAL)
    now = snapshot(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), routes("out"))
    response = take_and_ack(session, now)
    assert (response.type_url, response.names, response.removed) == (LISTENER, [], ["out"])


def test_an_old_cluster_and_its_endpoints_are_removed_after_the_routes_that_refer_to_it() -> None:
    session = synced(INITIAL)
    now = snapshot(cluster("b"), endpoints("b"), listener("out"), routes("out", 2))
    assert take_and_ack(session, now).type_url == ROUTES
    first, second = take_and_ack(session, now), take_and_ack(session, now)
    assert (first.type_url, first.removed) == (CLUSTER, ["a"])
    assert (second.type_url, second.removed) == (ENDPOINTS, ["a"])
    assert nothing_to_send(session, now)


def test_an_additional_name_gets_only_its_resource() -> None:
    session = Incremental()
    subscribe(session, INITIAL, ENDPOINTS, "a")
    session.handle_request(delta_request(ENDPOINTS, "b"))
    assert take_and_ack(session, INITIAL).names == ["b"]


def test_a_name_subscribed_again_is_sent_again_because_the_proxy_may_have_dropped_it() -> None:
    session = Incremental()
    subscribe(session, INITIAL, ENDPOINTS, "a", "b")
    session.handle_request(delta_request(ENDPOINTS, "a"))
    assert take_and_ack(session, INITIAL).names == ["a"]


def test_a_name_subscribed_again_while_its_response_is_pending_is_sent_again() -> None:
    session = Incremental()
    session.handle_request(delta_request(ENDPOINTS, "a", "b"))
    first = delta_response(session.next_response(INITIAL))
    session.handle_request(delta_request(ENDPOINTS, "a"))
    session.handle_request(delta_request(ENDPOINTS, nonce=first.nonce))
    assert take_and_ack(session, INITIAL).names == ["a"]


def test_an_unsubscribed_name_is_not_sent_again() -> None:
    session = Incremental()
    subscribe(session, INITIAL, ENDPOINTS, "a", "b")
    session.handle_request(delta_request(ENDPOINTS, unsubscribe=["b"]))
    assert nothing_to_send(session, snapshot(cluster("a"), endpoints("a"), endpoints("b", 2)))


def test_the_wildcard_example_of_the_protocol_documentation() -> None:
    session = Incremental()
    assert subscribe(session, INITIAL, CLUSTER).names == ["a", "b"]
    session.handle_request(delta_request(CLUSTER, "a"))
    assert take_and_ack(session, INITIAL).names == ["a"]
    assert take_and_ack(session, snapshot(cluster("a"), cluster("b", 2))).names == ["b"]
    session.handle_request(delta_request(CLUSTER, unsubscribe=["*"]))
    assert nothing_to_send(session, snapshot(cluster("a"), cluster("b", 3)))
    session.handle_request(delta_request(CLUSTER, unsubscribe=["a"]))
    assert nothing_to_send(session, snapshot(cluster("a", 3)))
    session.handle_request(delta_request(CLUSTER, "*"))
    assert take_and_ack(session, INITIAL).names == ["a", "b"]


def test_under_a_wildcard_an_unsubscribed_name_is_sent_again_so_that_the_proxy_knows_whether_to_keep_it() -> None:
    session = Incremental()
    subscribe(session, INITIAL, CLUSTER, "*", "a", "gone")
    session.handle_request(delta_request(CLUSTER, unsubscribe=["a", "gone"]))
    response = take_and_ack(session, INITIAL)
    assert (response.names, response.removed) == (["a"], ["gone"])


def test_after_unsubscribing_from_the_wildcard_a_request_without_names_does_not_subscribe_to_it_again() -> None:
    session = Incremental()
    subscribe(session, INITIAL, CLUSTER)
    session.handle_request(delta_request(CLUSTER, unsubscribe=["*"]))
    session.handle_request(delta_request(CLUSTER))
    assert nothing_to_send(session, snapshot(cluster("c")))


def test_a_wildcard_subscribed_while_a_response_is_pending_gets_all_resources() -> None:
    session = Incremental()
    session.handle_request(delta_request(CLUSTER, "a"))
    first = delta_response(session.next_response(INITIAL))
    session.handle_request(delta_request(CLUSTER, "*"))
    assert take_and_ack(session, INITIAL).names == ["a", "b"]
    assert session.handle_request(delta_request(CLUSTER, nonce=first.nonce)).kind is RequestKind.STALE


def test_after_a_reconnect_only_the_difference_to_the_initial_versions_is_sent() -> None:
    versions = {name: resource.version for name, resource in INITIAL.sets[CLUSTER].by_name.items()}
    session = Incremental()
    session.handle_request(delta_request(CLUSTER, "*", initial_versions=versions))
    assert nothing_to_send(session, INITIAL)
    other = Incremental()
    other.handle_request(delta_request(CLUSTER, initial_versions=versions))
    now = snapshot(cluster("a", 2), cluster("c"))
    assert take_and_ack(other, now).names == ["a", "c"]
    assert take_and_ack(other, now).removed == ["b"]


def test_after_a_reconnect_with_current_initial_versions_nothing_is_sent() -> None:
    versions = {name: resource.version for name, resource in INITIAL.sets[ENDPOINTS].by_name.items()}
    session = Incremental()
    session.handle_request(delta_request(ENDPOINTS, "a", "b", initial_versions=versions))
    assert nothing_to_send(session, INITIAL)


def test_after_a_reconnect_names_without_an_initial_version_are_sent() -> None:
    session = Incremental()
    session.handle_request(
        delta_request(ENDPOINTS, "a", "b", initial_versions={"a": INITIAL.sets[ENDPOINTS].by_name["a"].version})
    )
    assert take_and_ack(session, INITIAL).names == ["b"]


def test_a_nack_is_reported_and_the_rejected_version_is_not_sent_again_until_something_changes() -> None:
    session = Incremental()
    subscribe(session, INITIAL, LISTENER)
    bad = delta_response(session.next_response(snapshot(listener("out", 2))))
    handled = session.handle_request(delta_request(LISTENER, nonce=bad.nonce, error="no such filter"))
    assert (handled.kind, handled.version, handled.detail) == (RequestKind.NACK, bad.version, "no such filter")
    assert nothing_to_send(session, snapshot(listener("out", 2)))
    assert take_and_ack(session, snapshot(listener("out", 3))).names == ["out"]


def test_a_rejected_resource_that_left_the_snapshot_is_removed_because_envoy_may_have_applied_it() -> None:
    session = synced(INITIAL)
    bad = delta_response(
        session.next_response(snapshot(*INITIAL.sets[CLUSTER].by_name.values(), listener("out"), listener("bad")))
    )
    session.handle_request(delta_request(LISTENER, nonce=bad.nonce, error="no"))
    now = Snapshot({**INITIAL.sets, LISTENER: snapshot(listener("out")).sets[LISTENER]})
    response = take_and_ack(session, now)
    assert (response.names, response.removed) == ([], ["bad"])


def test_a_request_with_a_stale_nonce_still_changes_the_subscription() -> None:
    session = Incremental()
    subscribe(session, INITIAL, ENDPOINTS, "a")
    assert session.handle_request(delta_request(ENDPOINTS, "b", nonce="17")).kind is RequestKind.STALE
    assert take_and_ack(session, INITIAL).names == ["b"]


def test_sessions_share_the_encoded_bytes() -> None:
    now = snapshot(cluster("a"))
    first, second = subscribe(Incremental(), now, CLUSTER), subscribe(Incremental(), now, CLUSTER)
    assert first.bodies == second.bodies
    (change,) = now.sets[CLUSTER]._changes.values()
    assert len(change.encoded) == 1


def test_a_request_that_is_not_protobuf_or_has_no_type_is_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="not a DeltaDiscoveryRequest"):
        Incremental().handle_request(b"\xff\xff")
    with pytest.raises(MalformedRequestError, match="not a resource type"):
        Incremental().handle_request(delta_request(""))


def test_a_request_with_too_many_names_or_initial_versions_is_malformed() -> None:
    many = [str(number) for number in range(10_001)]
    with pytest.raises(MalformedRequestError, match="names"):
        Incremental().handle_request(delta_request(ENDPOINTS, *many))
    with pytest.raises(MalformedRequestError, match="initial versions"):
        Incremental().handle_request(delta_request(CLUSTER, initial_versions=dict.fromkeys(many, "1")))


def test_an_unsupported_type_never_gets_a_response() -> None:
    session = Incremental()
    runtime = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    assert session.handle_request(delta_request(runtime, "x")).kind is RequestKind.UNSUPPORTED_TYPE
    assert nothing_to_send(session, INITIAL)


def test_responses_without_resources_have_the_type_of_their_own_subscription() -> None:
    first, second = Incremental(), Incremental()
    first.handle_request(delta_request(ENDPOINTS, "nowhere"))
    second.handle_request(delta_request(ROUTES, "nowhere"))
    # Before, all empty changes were one object, in which the first response was cached together with its type.
    assert delta_response(first.next_response(INITIAL)).type_url == ENDPOINTS
    assert delta_response(second.next_response(INITIAL)).type_url == ROUTES


def test_a_response_of_another_type_than_its_subscription_is_not_encoded() -> None:
    session, subscription = Incremental(), Subscription(CLUSTER)
    with pytest.raises(WrongTypeError, match=r"response to \S+Cluster has a change of \S+ClusterLoadAssignment"):
        session._typed_body(subscription, INITIAL.sets[CLUSTER], Change(ENDPOINTS))
    with pytest.raises(WrongTypeError, match=r"to \S+ClusterLoadAssignment"):
        session._typed_body(subscription, INITIAL.sets[ENDPOINTS], Change(CLUSTER))
