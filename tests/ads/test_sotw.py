import pytest

from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import Verdict
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Snapshot
from tests.ads.messages import (
    Sotw,
    asks,
    cluster,
    endpoints,
    listener,
    quiet,
    routes,
    said,
    secret,
    snapshot,
)

WORLD = snapshot(
    cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"), secret("root")
)
RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"


def get(session: StateOfTheWorld, now: Snapshot, type_url: str, *names: str) -> Sotw:
    """Ask for the first time, take and accept the answer."""
    session.hear(asks(type_url, *names))
    return accept(session, now, *names)


def accept(session: StateOfTheWorld, now: Snapshot, *names: str) -> Sotw:
    answer = said(session.answer(now))
    heard = session.hear(asks(answer.type_url, *names, nonce=answer.nonce, version=answer.version))
    assert (heard.verdict, heard.version) == (Verdict.ACCEPTED, answer.version)
    return answer


def synced(now: Snapshot) -> StateOfTheWorld:
    """A session whose proxy has everything, as Envoy asks for it."""
    session = StateOfTheWorld()
    get(session, now, CLUSTER)
    get(session, now, ENDPOINTS, "a", "b")
    get(session, now, LISTENER)
    get(session, now, ROUTES, "out")
    get(session, now, SECRET, "root")
    assert quiet(session, now)
    return session


def test_nothing_is_said_unasked() -> None:
    assert quiet(StateOfTheWorld(), WORLD)


def test_a_first_request_without_names_is_for_all_clusters() -> None:
    answer = get(StateOfTheWorld(), WORLD, CLUSTER)
    assert (answer.type_url, answer.names, answer.version) == (CLUSTER, ["a", "b"], WORLD.sets[CLUSTER].version)


def test_a_first_request_without_names_is_for_no_endpoints() -> None:
    session = StateOfTheWorld()
    session.hear(asks(ENDPOINTS))
    assert quiet(session, WORLD)


def test_no_clusters_at_all_is_an_answer() -> None:
    assert get(StateOfTheWorld(), snapshot(), CLUSTER).names == []


def test_only_the_endpoints_asked_for_are_sent() -> None:
    assert get(StateOfTheWorld(), WORLD, ENDPOINTS, "b", "nowhere").names == ["b"]


def test_endpoints_that_do_not_exist_are_sent_once_they_do() -> None:
    session = StateOfTheWorld()
    session.hear(asks(ENDPOINTS, "c"))
    assert quiet(session, WORLD)
    assert accept(session, snapshot(endpoints("a"), endpoints("c")), "c").names == ["c"]


def test_an_accepted_snapshot_is_not_sent_again() -> None:
    assert quiet(synced(WORLD), WORLD)


def test_an_unanswered_response_holds_back_the_next_of_its_type() -> None:
    session = StateOfTheWorld()
    session.hear(asks(CLUSTER))
    first = said(session.answer(WORLD))
    newer = snapshot(cluster("a"), cluster("c"))
    newest = snapshot(cluster("a"), cluster("d"))
    assert quiet(session, newer)
    session.hear(asks(CLUSTER, nonce=first.nonce, version=first.version))
    assert said(session.answer(newest)).names == ["a", "b", "d"]


def test_everything_goes_out_in_wire_order() -> None:
    session = StateOfTheWorld()
    for type_url, names in ((SECRET, ["root"]), (ROUTES, ["out"]), (LISTENER, []), (ENDPOINTS, ["a"]), (CLUSTER, [])):
        session.hear(asks(type_url, *names))
    order = []
    while response := session.answer(WORLD):
        answer = said(response)
        order.append(answer.type_url)
        names = {ENDPOINTS: ["a"], ROUTES: ["out"], SECRET: ["root"]}.get(answer.type_url, [])
        session.hear(asks(answer.type_url, *names, nonce=answer.nonce, version=answer.version))
    assert order == [CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET]


def test_listeners_and_routes_wait_until_clusters_and_endpoints_are_in_place() -> None:
    session = synced(WORLD)
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
    clusters = said(session.answer(now))
    assert clusters.type_url == CLUSTER
    assert quiet(session, now)
    # The new cluster warms: its endpoints are asked for before the clusters are accepted.
    session.hear(asks(ENDPOINTS, "a", "b", "c", nonce="2"))
    warmed = said(session.answer(now))
    assert (warmed.type_url, warmed.names) == (ENDPOINTS, ["c"])
    session.hear(asks(CLUSTER, nonce=clusters.nonce, version=clusters.version))
    assert quiet(session, now)
    session.hear(asks(ENDPOINTS, "a", "b", "c", nonce=warmed.nonce, version=warmed.version))
    assert said(session.answer(now)).type_url == LISTENER
    assert said(session.answer(now)).type_url == ROUTES


def test_secrets_do_not_wait_for_clusters_which_may_wait_for_them() -> None:
    session = synced(WORLD)
    now = snapshot(cluster("a", 2), secret("root", 2))
    assert said(session.answer(now)).type_url == CLUSTER
    assert said(session.answer(now)).type_url == SECRET


def test_of_endpoints_only_the_changed_ones_are_sent() -> None:
    session = synced(WORLD)
    now = snapshot(
        cluster("a"), cluster("b"), endpoints("a", 2), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    assert accept(session, now, "a", "b").names == ["a"]
    assert quiet(session, now)


def test_of_clusters_all_are_sent_when_one_changes() -> None:
    session = synced(WORLD)
    now = snapshot(
        cluster("a", 2), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    assert accept(session, now).names == ["a", "b"]


def test_the_endpoints_of_a_changed_cluster_follow_although_they_are_the_same() -> None:
    session = synced(WORLD)
    now = snapshot(
        cluster("a", 2), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    assert said(session.answer(now)).type_url == CLUSTER
    follow = said(session.answer(now))
    assert (follow.type_url, follow.names) == (ENDPOINTS, ["a"])


def test_a_stale_cluster_goes_only_after_the_routes_left_it() -> None:
    session = synced(WORLD)
    now = snapshot(
        cluster("b"), cluster("c"), endpoints("b"), endpoints("c"), listener("out"), routes("out", 2), secret("root")
    )
    assert accept(session, now).names == ["a", "b", "c"]
    assert accept(session, now, "out").type_url == ROUTES
    last = accept(session, now)
    assert (last.type_url, last.names, last.version) == (CLUSTER, ["b", "c"], now.sets[CLUSTER].version)
    assert quiet(session, now)


def test_a_stale_cluster_stays_while_the_routes_that_leave_it_are_rejected() -> None:
    session = synced(WORLD)
    now = snapshot(cluster("b"), endpoints("b"), listener("out"), routes("out", 2), secret("root"))
    bad = said(session.answer(now))
    assert bad.type_url == ROUTES
    session.hear(asks(ROUTES, "out", nonce=bad.nonce, error="no such filter"))
    assert quiet(session, now)
    good = snapshot(cluster("b"), endpoints("b"), listener("out"), routes("out", 3), secret("root"))
    assert accept(session, good, "out").type_url == ROUTES
    assert accept(session, good).names == ["b"]


def test_a_listener_that_is_gone_is_left_out() -> None:
    session = synced(WORLD)
    now = snapshot(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), routes("out"), secret("root"))
    answer = accept(session, now)
    assert (answer.type_url, answer.names) == (LISTENER, [])


def test_a_rejection_is_told_once_with_its_words_and_the_version_is_not_sent_again() -> None:
    session = synced(WORLD)
    now = snapshot(*WORLD.sets[CLUSTER].by_name.values(), listener("out", 2))
    answer = said(session.answer(now))
    heard = session.hear(asks(LISTENER, nonce=answer.nonce, error="no such filter"))
    assert (heard.verdict, heard.version, heard.detail) == (Verdict.REJECTED, answer.version, "no such filter")
    assert quiet(session, now)
    again = session.hear(asks(LISTENER, nonce=answer.nonce, error="no such filter"))
    assert again.verdict is Verdict.ASKED
    assert quiet(session, now)


def test_after_a_rejection_the_next_change_is_sent() -> None:
    session = StateOfTheWorld()
    session.hear(asks(LISTENER))
    bad = said(session.answer(snapshot(listener("out", 2))))
    session.hear(asks(LISTENER, nonce=bad.nonce, error="no"))
    assert accept(session, snapshot(listener("out", 3))).names == ["out"]


def test_after_a_rejection_the_old_state_is_sent_again_for_envoy_may_have_taken_the_good_part() -> None:
    session = synced(WORLD)
    mixed = snapshot(
        cluster("a"), cluster("b"), endpoints("a", 2), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    bad = said(session.answer(mixed))
    session.hear(asks(ENDPOINTS, "a", "b", nonce=bad.nonce, error="no"))
    assert quiet(session, mixed)
    assert accept(session, WORLD, "a", "b").names == ["a"]


def test_after_a_rejection_what_was_rejected_goes_out_again_with_the_next_change() -> None:
    session = StateOfTheWorld()
    get(session, WORLD, ENDPOINTS, "a", "b")
    bad = said(session.answer(snapshot(endpoints("a", 2), cluster("b"), endpoints("b"))))
    session.hear(asks(ENDPOINTS, "a", "b", nonce=bad.nonce, error="no"))
    next_one = snapshot(endpoints("a", 2), cluster("b"), endpoints("b", 2))
    assert accept(session, next_one, "a", "b").names == ["a", "b"]


def test_a_cluster_of_a_rejected_response_that_is_gone_is_not_kept() -> None:
    session = synced(WORLD)
    bad = said(session.answer(snapshot(*WORLD.sets[CLUSTER].by_name.values(), cluster("bad"))))
    session.hear(asks(CLUSTER, nonce=bad.nonce, error="no"))
    assert accept(session, WORLD).names == ["a", "b"]
    assert quiet(session, WORLD)


def test_a_request_with_a_stale_nonce_is_ignored() -> None:
    session = StateOfTheWorld()
    session.hear(asks(ENDPOINTS, "a"))
    answer = said(session.answer(WORLD))
    assert session.hear(asks(ENDPOINTS, "a", "b")).verdict is Verdict.STALE
    assert quiet(session, WORLD)
    session.hear(asks(ENDPOINTS, "a", "b", nonce=answer.nonce, version=answer.version))
    assert accept(session, WORLD, "a", "b").names == ["b"]


def test_before_the_first_answer_the_latest_request_counts() -> None:
    session = StateOfTheWorld()
    session.hear(asks(ENDPOINTS, "a"))
    session.hear(asks(ENDPOINTS, "b"))
    assert accept(session, WORLD, "b").names == ["b"]


def test_a_further_name_brings_only_its_resource() -> None:
    session = StateOfTheWorld()
    answer = get(session, WORLD, ENDPOINTS, "a")
    session.hear(asks(ENDPOINTS, "a", "b", nonce=answer.nonce, version=answer.version))
    assert accept(session, WORLD, "a", "b").names == ["b"]


def test_a_name_asked_for_again_after_it_was_left_is_sent_again() -> None:
    session = StateOfTheWorld()
    answer = get(session, WORLD, ENDPOINTS, "a", "b")
    session.hear(asks(ENDPOINTS, "a", nonce=answer.nonce, version=answer.version))
    assert quiet(session, WORLD)
    session.hear(asks(ENDPOINTS, "a", "b", nonce=answer.nonce, version=answer.version))
    assert accept(session, WORLD, "a", "b").names == ["b"]


def test_what_is_no_longer_asked_for_is_not_sent() -> None:
    session = StateOfTheWorld()
    answer = get(session, WORLD, ENDPOINTS, "a", "b")
    session.hear(asks(ENDPOINTS, "a", nonce=answer.nonce, version=answer.version))
    assert quiet(session, snapshot(endpoints("a"), cluster("a"), endpoints("b", 2)))


def test_wildcard_in_the_words_of_the_protocol_document() -> None:
    session = StateOfTheWorld()
    assert get(session, WORLD, CLUSTER).names == ["a", "b"]
    session.hear(asks(CLUSTER, "*", "a", nonce="1"))
    # A name that is new is answered, also where all were there already.
    assert accept(session, WORLD, "*", "a").names == ["a", "b"]
    session.hear(asks(CLUSTER, "a", nonce="2"))
    assert quiet(session, WORLD)
    assert quiet(session, snapshot(cluster("a"), cluster("b", 2)))
    session.hear(asks(CLUSTER, nonce="2"))
    assert quiet(session, snapshot(cluster("a", 2)))
    session.hear(asks(CLUSTER, "*", nonce="2"))
    assert accept(session, WORLD, "*").names == ["a", "b"]


def test_a_cluster_asked_for_by_name_comes_alone() -> None:
    assert get(StateOfTheWorld(), WORLD, CLUSTER, "b").names == ["b"]


@pytest.mark.parametrize(
    ("type_url", "names"),
    [(CLUSTER, ()), (ENDPOINTS, ("a", "b")), (LISTENER, ()), (ROUTES, ("out",)), (SECRET, ("root",))],
)
def test_a_reconnect_with_the_version_it_has_is_sent_nothing(type_url: str, names: tuple[str, ...]) -> None:
    version = get(StateOfTheWorld(), WORLD, type_url, *names).version
    session = StateOfTheWorld()
    session.hear(asks(type_url, *names, version=version))
    assert quiet(session, WORLD)


def test_a_reconnect_is_sent_what_changed_meanwhile() -> None:
    version = get(StateOfTheWorld(), WORLD, CLUSTER).version
    session = StateOfTheWorld()
    session.hear(asks(CLUSTER, version=version))
    assert quiet(session, WORLD)
    assert accept(session, snapshot(cluster("a", 2))).names == ["a", "b"]


def test_a_reconnect_that_asks_for_more_names_is_sent_them() -> None:
    version = get(StateOfTheWorld(), WORLD, ENDPOINTS, "a").version
    session = StateOfTheWorld()
    session.hear(asks(ENDPOINTS, "a", "b", version=version))
    assert accept(session, WORLD, "a", "b").names == ["a", "b"]


def test_a_cluster_that_warms_across_a_reconnect_gets_its_endpoints() -> None:
    version = get(StateOfTheWorld(), WORLD, ENDPOINTS, "a").version
    session = StateOfTheWorld()
    now = snapshot(cluster("a", 2), endpoints("a"))
    session.hear(asks(CLUSTER, version=now.sets[CLUSTER].version))
    session.hear(asks(ENDPOINTS, "a", version=version))
    assert accept(session, now, "a").names == ["a"]


def test_a_partial_push_leaves_the_version_of_the_whole_subset() -> None:
    session = synced(WORLD)
    now = snapshot(
        cluster("a"), cluster("b"), endpoints("a", 2), endpoints("b"), listener("out"), routes("out"), secret("root")
    )
    partial = accept(session, now, "a", "b")
    reconnected = StateOfTheWorld()
    reconnected.hear(asks(ENDPOINTS, "a", "b", version=partial.version))
    assert quiet(reconnected, now)


def test_nonces_are_never_used_twice() -> None:
    session = synced(WORLD)
    seen = {said(session.answer(snapshot(cluster("a", 2), secret("root", 2)))).nonce for _ in range(2)}
    assert seen == {"6", "7"}


def test_streams_share_the_encoded_bytes() -> None:
    now = snapshot(cluster("a"), endpoints("a"))
    get(StateOfTheWorld(), now, CLUSTER)
    encoded = dict(now.sets[CLUSTER].encoded)
    get(StateOfTheWorld(), now, CLUSTER)
    assert encoded
    assert all(now.sets[CLUSTER].encoded[form] is body for form, body in encoded.items())


@pytest.mark.parametrize("type_url", ["", "clusters", "type.googleapis.com/", "type.googleapis.com/a b"])
def test_a_request_for_no_type_is_malformed(type_url: str) -> None:
    with pytest.raises(MalformedRequestError, match="names no type"):
        StateOfTheWorld().hear(asks(type_url))


def test_a_request_that_is_no_protobuf_is_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="no DiscoveryRequest"):
        StateOfTheWorld().hear(b"\xff\xff")


def test_too_many_names_are_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="more than 10000 names"):
        StateOfTheWorld().hear(asks(ENDPOINTS, *(str(number) for number in range(10_001))))


def test_a_type_that_is_not_served_is_never_answered() -> None:
    session = StateOfTheWorld()
    assert session.hear(asks(RUNTIME, "x")).verdict is Verdict.NOT_SERVED
    assert quiet(session, WORLD)


def test_the_node_is_reported_and_not_believed() -> None:
    assert StateOfTheWorld().hear(asks(CLUSTER, node="somebody")).node == "somebody"
