import pytest

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import RequestKind
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Snapshot
from tests.ads.messages import (
    SotwResponse,
    cluster,
    endpoints,
    listener,
    nothing_to_send,
    routes,
    secret,
    snapshot,
    sotw_request,
    sotw_response,
)

INITIAL = snapshot(
    cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"), secret("root")
)
RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"


def subscribe(session: StateOfTheWorld, now: Snapshot, type_url: str, *names: str) -> SotwResponse:
    """Send the first request of a type, then take and acknowledge the response."""
    session.handle_request(sotw_request(type_url, *names))
    return take_and_ack(session, now, *names)


def take_and_ack(session: StateOfTheWorld, now: Snapshot, *names: str) -> SotwResponse:
    response = sotw_response(session.next_response(now))
    handled = session.handle_request(
        sotw_request(response.type_url, *names, nonce=response.nonce, version=response.version)
    )
    assert (handled.kind, handled.version) == (RequestKind.ACK, response.version)
    return response


def synced(now: Snapshot) -> StateOfTheWorld:
    """A session whose proxy has everything, in the order in which Envoy subscribes."""
    session = StateOfTheWorld()
    subscribe(session, now, CLUSTER)
    subscribe(session, now, ENDPOINTS, "a", "b")
    subscribe(session, now, LISTENER)
    subscribe(session, now, ROUTES, "out")
    subscribe(session, now, SECRET, "root")
    assert nothing_to_send(session, now)
    return session


def test_nothing_is_sent_before_a_request() -> None:
    assert nothing_to_send(StateOfTheWorld(), INITIAL)


def test_a_first_request_without_names_subscribes_to_all_clusters() -> None:
    response = subscribe(StateOfTheWorld(), INITIAL, CLUSTER)
    assert (response.type_url, response.names, response.version) == (CLUSTER, ["a", "b"], INITIAL.sets[CLUSTER].version)


def test_a_first_request_without_names_subscribes_to_no_endpoints() -> None:
    session = StateOfTheWorld()
    session.handle_request(sotw_request(ENDPOINTS))
    assert nothing_to_send(session, INITIAL)


def test_a_wildcard_subscription_gets_a_response_even_if_there_are_no_clusters() -> None:
    assert subscribe(StateOfTheWorld(), snapshot(), CLUSTER).names == []


def test_only_subscribed_endpoints_are_sent() -> None:
    assert subscribe(StateOfTheWorld(), INITIAL, ENDPOINTS, "b", "nowhere").names == ["b"]


def test_endpoints_that_do_not_exist_are_sent_once_they_do() -> None:
    session = StateOfTheWorld()
    session.handle_request(sotw_request(ENDPOINTS, "c"))
    assert nothing_to_send(session, INITIAL)
    assert take_and_ack(session, snapshot(endpoints("a"), endpoints("c")), "c").names == ["c"]


def test_an_accepted_snapshot_is_not_sent_again() -> None:
    assert nothing_to_send(synced(INITIAL), INITIAL)


def test_while_a_response_is_pending_no_other_of_its_type_is_sent() -> None:
    session = StateOfTheWorld()
    session.handle_request(sotw_request(CLUSTER))
    first = sotw_response(session.next_response(INITIAL))
    newer = snapshot(cluster("a"), cluster("c"))
    newest = snapshot(cluster("a"), cluster("d"))
    assert nothing_to_send(session, newer)
    session.handle_request(sotw_request(CLUSTER, nonce=first.nonce, version=first.version))
    assert sotw_response(session.next_response(newest)).names == ["a", "b", "d"]


def test_responses_are_sent_in_push_order() -> None:
    session = StateOfTheWorld()
    for type_url, names in ((SECRET, ["root"]), (ROUTES, ["out"]), (LISTENER, []), (ENDPOINTS, ["a"]), (CLUSTER, [])):
        session.handle_request(sotw_request(type_url, *names))
    order = []
    while (encoded := session.next_response(INITIAL)) is not None:
        response = sotw_response(encoded)
        order.append(response.type_url)
        names = {ENDPOINTS: ["a"], ROUTES: ["out"], SECRET: ["root"]}.get(response.type_url, [])
        session.handle_request(sotw_request(response.type_url, *names, nonce=response.nonce, version=response.version))
    assert order == [CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET]


def test_listeners_and_routes_wait_until_clusters_and_endpoints_are_acknowledged() -> None:
    session = synced(INITIAL)
    now = snapshot(
        cluster("a"),
        cluster("b"),
        cluster("c"),
        endpoints("a"),
        endpoints("b"),
        endpoints("c"),
        listener("out", 2),
        routes("out", 2),
        secret("root"),
    )
    clusters = sotw_response(session.next_response(now))
    assert clusters.type_url == CLUSTER
    assert nothing_to_send(session, now)
    # The new cluster warms: Envoy subscribes to its endpoints before it acknowledges the clusters.
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", "c", nonce="2"))
    warmed = sotw_response(session.next_response(now))
    assert (warmed.type_url, warmed.names) == (ENDPOINTS, ["c"])
    session.handle_request(sotw_request(CLUSTER, nonce=clusters.nonce, version=clusters.version))
    assert nothing_to_send(session, now)
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", "c", nonce=warmed.nonce, version=warmed.version))
    assert sotw_response(session.next_response(now)).type_url == LISTENER
    assert sotw_response(session.next_response(now)).type_url == ROUTES


def test_secrets_do_not_wait_for_clusters_because_clusters_may_wait_for_secrets() -> None:
    session = synced(INITIAL)
    now = snapshot(cluster("a", 2), secret("root", 2))
    assert sotw_response(session.next_response(now)).type_url == CLUSTER
    assert sotw_response(session.next_response(now)).type_url == SECRET


def test_only_changed_endpoints_are_sent() -> None:
    session = synced(INITIAL)
    now = snapshot(
        cluster("a"), cluster("b"), endpoints("a", 2), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    assert take_and_ack(session, now, "a", "b").names == ["a"]
    assert nothing_to_send(session, now)


def test_all_clusters_are_sent_when_one_changes() -> None:
    session = synced(INITIAL)
    now = snapshot(
        cluster("a", 2), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    assert take_and_ack(session, now).names == ["a", "b"]


def test_the_unchanged_endpoints_of_a_changed_cluster_are_sent_again() -> None:
    session = synced(INITIAL)
    now = snapshot(
        cluster("a", 2), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    assert sotw_response(session.next_response(now)).type_url == CLUSTER
    warmed = sotw_response(session.next_response(now))
    assert (warmed.type_url, warmed.names) == (ENDPOINTS, ["a"])


def test_an_old_cluster_is_removed_only_after_the_routes_that_refer_to_it() -> None:
    session = synced(INITIAL)
    now = snapshot(
        cluster("b"), cluster("c"), endpoints("b"), endpoints("c"), listener("out"), routes("out", 2), secret("root")
    )
    assert take_and_ack(session, now).names == ["a", "b", "c"]
    assert take_and_ack(session, now, "out").type_url == ROUTES
    last = take_and_ack(session, now)
    assert (last.type_url, last.names, last.version) == (CLUSTER, ["b", "c"], now.sets[CLUSTER].version)
    assert nothing_to_send(session, now)


def test_an_old_cluster_stays_while_the_routes_without_it_are_rejected() -> None:
    session = synced(INITIAL)
    now = snapshot(cluster("b"), endpoints("b"), listener("out"), routes("out", 2), secret("root"))
    bad = sotw_response(session.next_response(now))
    assert bad.type_url == ROUTES
    session.handle_request(sotw_request(ROUTES, "out", nonce=bad.nonce, error="no such filter"))
    assert nothing_to_send(session, now)
    good = snapshot(cluster("b"), endpoints("b"), listener("out"), routes("out", 3), secret("root"))
    assert take_and_ack(session, good, "out").type_url == ROUTES
    assert take_and_ack(session, good).names == ["b"]


def test_a_listener_that_left_the_snapshot_is_not_in_the_response() -> None:
    session = synced(INITIAL)
    now = snapshot(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), routes("out"), secret("root"))
    response = take_and_ack(session, now)
    assert (response.type_url, response.names) == (LISTENER, [])


def test_a_nack_is_reported_once_with_its_message_and_the_version_is_not_sent_again() -> None:
    session = synced(INITIAL)
    now = snapshot(*INITIAL.sets[CLUSTER].by_name.values(), listener("out", 2))
    response = sotw_response(session.next_response(now))
    handled = session.handle_request(sotw_request(LISTENER, nonce=response.nonce, error="no such filter"))
    assert (handled.kind, handled.version, handled.detail) == (RequestKind.NACK, response.version, "no such filter")
    assert nothing_to_send(session, now)
    again = session.handle_request(sotw_request(LISTENER, nonce=response.nonce, error="no such filter"))
    assert again.kind is RequestKind.SUBSCRIBE
    assert nothing_to_send(session, now)


def test_after_a_nack_the_next_change_is_sent() -> None:
    session = StateOfTheWorld()
    session.handle_request(sotw_request(LISTENER))
    bad = sotw_response(session.next_response(snapshot(listener("out", 2))))
    session.handle_request(sotw_request(LISTENER, nonce=bad.nonce, error="no"))
    assert take_and_ack(session, snapshot(listener("out", 3))).names == ["out"]


def test_after_a_nack_the_old_state_is_sent_again_because_envoy_may_have_applied_a_part() -> None:
    session = synced(INITIAL)
    mixed = snapshot(
        cluster("a"), cluster("b"), endpoints("a", 2), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    bad = sotw_response(session.next_response(mixed))
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", nonce=bad.nonce, error="no"))
    assert nothing_to_send(session, mixed)
    assert take_and_ack(session, INITIAL, "a", "b").names == ["a"]


def test_after_a_nack_the_rejected_resources_are_sent_again_with_the_next_change() -> None:
    session = StateOfTheWorld()
    subscribe(session, INITIAL, ENDPOINTS, "a", "b")
    bad = sotw_response(session.next_response(snapshot(endpoints("a", 2), cluster("b"), endpoints("b"))))
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", nonce=bad.nonce, error="no"))
    next_one = snapshot(endpoints("a", 2), cluster("b"), endpoints("b", 2))
    assert take_and_ack(session, next_one, "a", "b").names == ["a", "b"]


def test_a_rejected_cluster_that_left_the_snapshot_is_not_kept() -> None:
    session = synced(INITIAL)
    bad = sotw_response(session.next_response(snapshot(*INITIAL.sets[CLUSTER].by_name.values(), cluster("bad"))))
    session.handle_request(sotw_request(CLUSTER, nonce=bad.nonce, error="no"))
    assert take_and_ack(session, INITIAL).names == ["a", "b"]
    assert nothing_to_send(session, INITIAL)


def test_a_request_with_a_stale_nonce_is_ignored() -> None:
    session = StateOfTheWorld()
    session.handle_request(sotw_request(ENDPOINTS, "a"))
    response = sotw_response(session.next_response(INITIAL))
    assert session.handle_request(sotw_request(ENDPOINTS, "a", "b")).kind is RequestKind.STALE
    assert nothing_to_send(session, INITIAL)
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", nonce=response.nonce, version=response.version))
    assert take_and_ack(session, INITIAL, "a", "b").names == ["b"]


def test_before_the_first_response_the_latest_request_counts() -> None:
    session = StateOfTheWorld()
    session.handle_request(sotw_request(ENDPOINTS, "a"))
    session.handle_request(sotw_request(ENDPOINTS, "b"))
    assert take_and_ack(session, INITIAL, "b").names == ["b"]


def test_an_additional_name_gets_only_its_resource() -> None:
    session = StateOfTheWorld()
    response = subscribe(session, INITIAL, ENDPOINTS, "a")
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", nonce=response.nonce, version=response.version))
    assert take_and_ack(session, INITIAL, "a", "b").names == ["b"]


def test_a_name_subscribed_again_after_an_unsubscription_is_sent_again() -> None:
    session = StateOfTheWorld()
    response = subscribe(session, INITIAL, ENDPOINTS, "a", "b")
    session.handle_request(sotw_request(ENDPOINTS, "a", nonce=response.nonce, version=response.version))
    assert nothing_to_send(session, INITIAL)
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", nonce=response.nonce, version=response.version))
    assert take_and_ack(session, INITIAL, "a", "b").names == ["b"]


def test_an_unsubscribed_name_is_not_sent_again() -> None:
    session = StateOfTheWorld()
    response = subscribe(session, INITIAL, ENDPOINTS, "a", "b")
    session.handle_request(sotw_request(ENDPOINTS, "a", nonce=response.nonce, version=response.version))
    assert nothing_to_send(session, snapshot(endpoints("a"), cluster("a"), endpoints("b", 2)))


def test_the_wildcard_example_of_the_protocol_documentation() -> None:
    session = StateOfTheWorld()
    assert subscribe(session, INITIAL, CLUSTER).names == ["a", "b"]
    session.handle_request(sotw_request(CLUSTER, "*", "a", nonce="1"))
    # A new name gets a response, even if the wildcard included it already.
    assert take_and_ack(session, INITIAL, "*", "a").names == ["a", "b"]
    session.handle_request(sotw_request(CLUSTER, "a", nonce="2"))
    assert nothing_to_send(session, INITIAL)
    assert nothing_to_send(session, snapshot(cluster("a"), cluster("b", 2)))
    session.handle_request(sotw_request(CLUSTER, nonce="2"))
    assert nothing_to_send(session, snapshot(cluster("a", 2)))
    session.handle_request(sotw_request(CLUSTER, "*", nonce="2"))
    assert take_and_ack(session, INITIAL, "*").names == ["a", "b"]


def test_a_cluster_subscribed_by_name_is_sent_alone() -> None:
    assert subscribe(StateOfTheWorld(), INITIAL, CLUSTER, "b").names == ["b"]


@pytest.mark.parametrize(
    ("type_url", "names"),
    [(CLUSTER, ()), (ENDPOINTS, ("a", "b")), (LISTENER, ()), (ROUTES, ("out",)), (SECRET, ("root",))],
)
def test_after_a_reconnect_with_the_current_version_nothing_is_sent(type_url: str, names: tuple[str, ...]) -> None:
    version = subscribe(StateOfTheWorld(), INITIAL, type_url, *names).version
    session = StateOfTheWorld()
    session.handle_request(sotw_request(type_url, *names, version=version))
    assert nothing_to_send(session, INITIAL)


def test_after_a_reconnect_changes_are_sent() -> None:
    version = subscribe(StateOfTheWorld(), INITIAL, CLUSTER).version
    session = StateOfTheWorld()
    session.handle_request(sotw_request(CLUSTER, version=version))
    assert nothing_to_send(session, INITIAL)
    assert take_and_ack(session, snapshot(cluster("a", 2))).names == ["a", "b"]


def test_after_a_reconnect_additional_names_are_sent() -> None:
    version = subscribe(StateOfTheWorld(), INITIAL, ENDPOINTS, "a").version
    session = StateOfTheWorld()
    session.handle_request(sotw_request(ENDPOINTS, "a", "b", version=version))
    assert take_and_ack(session, INITIAL, "a", "b").names == ["a", "b"]


def test_a_cluster_that_is_warming_across_a_reconnect_gets_its_endpoints() -> None:
    version = subscribe(StateOfTheWorld(), INITIAL, ENDPOINTS, "a").version
    session = StateOfTheWorld()
    now = snapshot(cluster("a", 2), endpoints("a"))
    session.handle_request(sotw_request(CLUSTER, version=now.sets[CLUSTER].version))
    session.handle_request(sotw_request(ENDPOINTS, "a", version=version))
    assert take_and_ack(session, now, "a").names == ["a"]


def test_a_response_with_a_part_of_the_subscription_has_the_version_of_the_whole_subscription() -> None:
    session = synced(INITIAL)
    now = snapshot(
        cluster("a"), cluster("b"), endpoints("a", 2), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    partial = take_and_ack(session, now, "a", "b")
    reconnected = StateOfTheWorld()
    reconnected.handle_request(sotw_request(ENDPOINTS, "a", "b", version=partial.version))
    assert nothing_to_send(reconnected, now)


def test_nonces_are_unique() -> None:
    session = synced(INITIAL)
    seen = {sotw_response(session.next_response(snapshot(cluster("a", 2), secret("root", 2)))).nonce for _ in range(2)}
    assert seen == {"6", "7"}


def test_sessions_share_the_encoded_bytes() -> None:
    now = snapshot(cluster("a"), endpoints("a"))
    subscribe(StateOfTheWorld(), now, CLUSTER)
    encoded = dict(now.sets[CLUSTER].encoded)
    subscribe(StateOfTheWorld(), now, CLUSTER)
    assert encoded
    assert all(now.sets[CLUSTER].encoded[form] is body for form, body in encoded.items())


@pytest.mark.parametrize("type_url", ["", "clusters", "type.googleapis.com/", "type.googleapis.com/a b"])
def test_a_request_without_a_resource_type_is_malformed(type_url: str) -> None:
    with pytest.raises(MalformedRequestError, match="not a resource type"):
        StateOfTheWorld().handle_request(sotw_request(type_url))


def test_a_request_that_is_not_protobuf_is_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="not a DiscoveryRequest"):
        StateOfTheWorld().handle_request(b"\xff\xff")


def test_a_request_with_too_many_names_is_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="more than 10000 names"):
        StateOfTheWorld().handle_request(sotw_request(ENDPOINTS, *(str(number) for number in range(10_001))))


def test_an_unsupported_type_never_gets_a_response() -> None:
    session = StateOfTheWorld()
    assert session.handle_request(sotw_request(RUNTIME, "x")).kind is RequestKind.UNSUPPORTED_TYPE
    assert nothing_to_send(session, INITIAL)


def test_the_node_id_is_reported() -> None:
    assert StateOfTheWorld().handle_request(sotw_request(CLUSTER, node="somebody")).node_id == "somebody"


def test_a_type_is_settled_when_the_proxy_has_what_it_should_have() -> None:
    session = synced(INITIAL)
    assert set(session.settled) == set(INITIAL.sets)
    now = Snapshot({**INITIAL.sets, ROUTES: snapshot(routes("out", 2)).sets[ROUTES]})
    bad = sotw_response(session.next_response(now))
    assert (session.settled, list(session.pending)) == ((), [ROUTES])
    session.handle_request(sotw_request(ROUTES, "out", nonce=bad.nonce, error="no"))
    assert nothing_to_send(session, now)
    assert set(session.settled) == set(INITIAL.sets) - {ROUTES}


def test_rejected_routes_that_leave_the_snapshot_are_over_and_no_longer_keep_old_clusters() -> None:
    session = synced(INITIAL)
    without = {**INITIAL.sets, CLUSTER: snapshot(cluster("b")).sets[CLUSTER]}
    bad = sotw_response(session.next_response(Snapshot({**without, ROUTES: snapshot(routes("out", 2)).sets[ROUTES]})))
    session.handle_request(sotw_request(ROUTES, "out", nonce=bad.nonce, error="no"))
    now = Snapshot({**without, ROUTES: snapshot().sets[ROUTES]})
    response = take_and_ack(session, now)
    assert (response.type_url, response.names) == (CLUSTER, ["b"])
    assert ROUTES in session.settled
